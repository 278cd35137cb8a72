"""The contract on a platform of fence class none, and the promises that it cannot keep."""

from pathlib import Path

import pytest

from shipslog.adapters.platforms.processes.platform import ProcessesPlatform
from shipslog.domain.event import Fence
from shipslog.domain.ports import FenceClass, Route

from ..contract import PlatformContract
from ..ground import Ground, launch, service, sleeper
from .target import UnfencedTarget, recorded


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture
def ground(data: Path, tmp_path: Path, record: Path) -> Ground:
    return Ground(UnfencedTarget(ProcessesPlatform(data), record), tmp_path)


class TestUnfencedTarget(PlatformContract):
    # What makes a platform fenced, idempotent or observable; below is what it does instead.
    test_an_effect_key_starts_one_command_only = None  # type: ignore[assignment]
    test_a_command_stopped_before_it_starts_never_starts = None  # type: ignore[assignment]
    test_a_lower_fence_is_refused_before_anything_is_done = None  # type: ignore[assignment]
    test_what_was_stopped_before_it_arrives_has_no_effect = None  # type: ignore[assignment]
    test_the_same_start_again_keeps_what_runs_and_leaves_what_ended = None  # type: ignore[assignment]

    async def test_it_says_that_it_promises_nothing(self, ground: Ground) -> None:
        assert ground.platform.fence_class is FenceClass.NONE

    async def test_what_comes_twice_is_done_twice(self, ground: Ground, record: Path) -> None:
        await ground.prepare()
        script = "echo started >> count; cat count"
        assert (await ground.sh(script, stage="build")).output == b"started\n"
        assert (await ground.sh(script, stage="build")).output == b"started\nstarted\n"
        assert [one.key for one in recorded(record)] == ["d1/build/1"] * 2

    async def test_what_was_stopped_before_it_came_comes_all_the_same(self, ground: Ground) -> None:
        await ground.prepare()
        late = ground.effect("late")
        await ground.platform.stop(late)
        await ground.platform.run(late, launch("touch", "begun"))
        assert (await ground.run("ls")).output == b"begun\n"
        await ground.platform.route(ground.effect("late"), Route(ground.listen, {}))
        assert await ground.platform.routed(ground.target) == Route(ground.listen, {})

    async def test_what_comes_late_is_done_late(self, ground: Ground, record: Path) -> None:
        await ground.prepare()
        new, old = Fence(9, 2), Fence(9, 1)
        await ground.platform.announce(ground.target, new)
        await ground.platform.run(ground.effect(fence=new), launch("true"))
        late = ground.effect("late", fence=old)
        await ground.platform.announce(ground.target, old)
        await ground.platform.run(late, launch("touch", "late"))
        assert (await ground.platform.start(late, sleeper()))[0].alive
        assert (await ground.run("ls")).output == b"late\n"
        assert [one.fence for one in recorded(record)][:3] == [new, old, old]

    async def test_the_same_start_again_starts_what_has_ended(self, ground: Ground) -> None:
        (first,) = await ground.start("v1", stage="start")
        await ground.dies("v1", first)
        (again,) = await ground.platform.start(ground.effect("start"), service("v1"))
        assert again.alive
        assert again.pid != first.pid
