"""The promise of blue-green: users of a service under load do not notice that it is switched."""

import asyncio

from .ground import Ground, get
from .load import Load

SWITCHES = 8


async def test_switches_under_load_fail_no_request(ground: Ground) -> None:
    await ground.start("v0")
    await ground.route(v0=10_000)
    load = Load(ground.url)
    async with load.running():
        for number in range(1, SWITCHES + 1):
            new, old = f"v{number}", f"v{number - 1}"
            await ground.start(new)
            await ground.route(**{new: 10_000})
            await ground.retire(old, drain=0.2)
            assert not await ground.platform.instances(ground.target, old)
            assert (await ground.platform.traffic(ground.target))[new].failures == 0
    assert load.failures == []
    assert set(load.answered) == {f"v{number}" for number in range(SWITCHES + 1)}
    assert load.answered.total() > 400


async def test_after_a_switch_back_every_new_request_is_on_the_old_revision(ground: Ground) -> None:
    await asyncio.gather(ground.start("old", capacity=3), ground.start("new", capacity=3))
    await ground.route(old=10_000)
    load = Load(ground.url)
    async with load.running():
        await ground.route(new=10_000)
        await ground.has_in_flight("new")
        await ground.route(old=10_000)
        answers = await asyncio.gather(*(get(ground.url) for _ in range(50)))
        assert set(answers) == {(200, "old")}
    assert load.failures == []
