"""The fake platform keeps the promises of its port, as far as it has what they are about."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shipslog.domain.errors import PlatformUnavailableError, RefusedError, StateConflictError
from shipslog.domain.ports import Ended, Launch, RevisionSpec, Route
from tests.adapters.platforms.contract import PlatformContract
from tests.adapters.platforms.ground import DEPLOYMENT, Ground

from .server import Weather
from .world import WORK, FakePlatform, Watcher

LISTEN = "10.0.0.1:80"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(Weather(), now, Watcher())


@pytest.fixture
def ground(platform: FakePlatform, tmp_path: Path) -> Ground:
    return Ground(platform, tmp_path)


class TestFakePlatform:
    """Those tests of the contract that are not about processes, files and sockets."""

    test_fences_are_kept_for_each_target_alone = (
        PlatformContract.test_fences_are_kept_for_each_target_alone
    )
    test_a_lower_fence_is_refused_before_anything_is_done = (
        PlatformContract.test_a_lower_fence_is_refused_before_anything_is_done
    )
    test_a_command_stopped_before_it_starts_never_starts = (
        PlatformContract.test_a_command_stopped_before_it_starts_never_starts
    )
    test_what_was_stopped_before_it_arrives_has_no_effect = (
        PlatformContract.test_what_was_stopped_before_it_arrives_has_no_effect
    )
    test_a_start_that_is_stopped_on_its_way_leaves_nothing = (
        PlatformContract.test_a_start_that_is_stopped_on_its_way_leaves_nothing
    )


async def work(ground: Ground, seconds: str, how: str = "ok", *, limit: float = 30) -> Ended:
    launch = Launch((WORK, seconds, how), {}, DEPLOYMENT)
    return await ground.platform.run(ground.effect("build", seconds=limit), launch)


def spec(revision: str, version: str = "1.0.0") -> RevisionSpec:
    return RevisionSpec(revision, version, Launch(("serve",), {}, DEPLOYMENT), 2)


async def test_an_effect_key_starts_one_command_only(
    ground: Ground, platform: FakePlatform
) -> None:
    ended = await asyncio.gather(*(work(ground, "0.01", "fails") for _ in range(4)))
    assert {one.exit_code for one in (*ended, await work(ground, "0.01", "fails"))} == {1}
    assert platform.starts == {"d1/build/1": 1}


async def test_a_command_ends_at_its_deadline(ground: Ground) -> None:
    ended = await work(ground, "300", "hangs", limit=0.05)
    assert (ended.exit_code, ended.timed_out) == (None, True)


async def test_what_ran_when_the_agent_died_is_lost(ground: Ground, platform: FakePlatform) -> None:
    running = asyncio.create_task(work(ground, "300"))
    while not platform.starts:  # noqa: ASYNC110 - the fake tells nobody
        await asyncio.sleep(0)
    platform.die()
    with pytest.raises(PlatformUnavailableError):
        await running
    assert (await work(ground, "300")).lost


async def test_a_start_keeps_what_runs_and_only_another_one_replaces_what_ended(
    ground: Ground, platform: FakePlatform
) -> None:
    first, second = await platform.start(ground.effect("start"), spec("v1"))
    platform.lose(0)
    again = await platform.start(ground.effect("start"), spec("v1"))
    assert ([one.alive for one in again], again[1]) == ([False, True], second)
    kept, fresh = await platform.start(ground.effect(), spec("v1"))
    assert (kept, fresh.alive) == (second, True)
    assert fresh.port != first.port


async def test_what_is_routed_is_not_retired_and_nothing_unknown_is_routed(
    ground: Ground, platform: FakePlatform
) -> None:
    await platform.start(ground.effect(), spec("v1"))
    with pytest.raises(RefusedError):
        await platform.route(ground.effect(), Route(LISTEN, {"v2": 10_000}))
    with pytest.raises(RefusedError):
        await platform.route(ground.effect(), Route(LISTEN, {"v1": 9_999}))
    await platform.route(ground.effect(), Route(LISTEN, {"v1": 10_000}))
    with pytest.raises(StateConflictError):
        await platform.retire(ground.effect(), "v1", 0)
    await platform.route(ground.effect(), Route(LISTEN, {}))
    await platform.retire(ground.effect(), "v1", 0)
    assert await platform.instances(ground.target, "v1") == ()


async def test_what_is_started_while_it_is_retired_stays(
    ground: Ground, platform: FakePlatform
) -> None:
    old = await platform.start(ground.effect(), spec("v1"))
    retiring = asyncio.create_task(platform.retire(ground.effect(), "v1", 30))
    while not platform.is_retiring("v1"):  # noqa: ASYNC110 - the fake tells nobody
        await asyncio.sleep(0)
    assert await platform.start(ground.effect(), spec("v1")) == old
    with pytest.raises(StateConflictError, match="started again"):
        await retiring


@pytest.mark.parametrize(("version", "passes"), [("1.0.0", True), ("2.0.0", False)])
async def test_a_version_says_whether_it_is_well(
    ground: Ground, platform: FakePlatform, version: str, *, passes: bool
) -> None:
    instances = await platform.start(ground.effect(), spec("v1", version))
    for one in instances:
        assert (await platform.tcp(one.host, one.port, 1)).passed is passes
