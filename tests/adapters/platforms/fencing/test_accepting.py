"""A log that was accepted in another's place: its fences win, however low, and no other's do."""

import asyncio
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipslog.adapters.platforms.processes import durable
from shipslog.adapters.platforms.processes.fences import ACCEPTED, Fences, accept
from shipslog.adapters.platforms.processes.platform import (
    ProcessesPlatform,
    accept_log,
    stop_agent,
)
from shipslog.domain.errors import FenceRefusedError
from shipslog.domain.event import Fence
from shipslog.domain.ports import Route

from ..conftest import agent_of
from ..ground import Ground, get

HERE, THERE = "staging/web", "staging/other"
OLD, NEW = Fence(500, 7), Fence(300, 8)
SENTENCE = "of a log in whose place an operator has accepted another"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fences.json"


@contextmanager
def calling(accepted: int) -> Generator[None]:
    """Be somebody whose log had been accepted so often."""
    token = ACCEPTED.set(accepted)
    try:
        yield
    finally:
        ACCEPTED.reset(token)


def content(path: Path) -> object:
    return json.loads(path.read_bytes()) if path.exists() else None


async def refused(fences: Fences, target: str, fence: Fence) -> bool:
    try:
        await fences.admit(target, fence)
    except FenceRefusedError:
        return True
    return False


async def test_who_has_the_accepted_log_wins_whatever_its_fence(path: Path) -> None:
    fences = Fences(path)
    await fences.admit(HERE, OLD)
    assert await refused(fences, HERE, NEW)
    with calling(1):
        await fences.admit(HERE, NEW)
    for target in (HERE, THERE):
        with pytest.raises(FenceRefusedError, match=SENTENCE):
            await fences.admit(target, Fence(10_000, 9))
    with calling(1):
        assert await refused(fences, HERE, Fence(300, 7)), "among equals fences decide as ever"
        await fences.admit(THERE, Fence(1, 1))
    with calling(2):
        await fences.admit(HERE, Fence(1, 1))
    again = Fences(path)
    with calling(1):
        assert await refused(again, THERE, Fence(10_000, 9))
    with calling(2):
        assert await refused(again, HERE, Fence(0, 1))


async def test_once_it_is_told_nobody_else_passes_though_no_other_has_come(path: Path) -> None:
    fences = Fences(path)
    await fences.admit(HERE, OLD)
    with calling(1):
        await fences.accept()
        await fences.accept()
    for target in (HERE, THERE):
        assert await refused(fences, target, OLD)
    with pytest.raises(FenceRefusedError):
        await fences.accept()


async def test_what_had_been_let_pass_before_is_waited_for(path: Path) -> None:
    fences, begun, done = Fences(path), asyncio.Event(), asyncio.Event()

    async def change() -> None:
        async with fences.passing(HERE, OLD):
            begun.set()
            await done.wait()

    changing = asyncio.create_task(change())
    await begun.wait()
    with calling(1):
        waiting = [
            asyncio.create_task(fences.announce(HERE, NEW)),
            asyncio.create_task(fences.accept()),
        ]
    assert not (await asyncio.wait(waiting, timeout=0.2))[0]
    done.set()
    await asyncio.gather(changing, *waiting)


async def test_what_cannot_be_kept_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fences = Fences(path)
    await fences.admit(HERE, OLD)

    def full(_path: Path, _content: bytes) -> None:
        raise OSError

    with monkeypatch.context() as patching, calling(1):
        patching.setattr(durable, "replace", full)
        with pytest.raises(OSError):  # noqa: PT011 - of any kind
            await fences.accept()
    await fences.admit(HERE, OLD)
    assert await refused(fences, HERE, NEW)


async def test_without_an_acceptance_an_earlier_build_can_read_it(path: Path) -> None:
    await Fences(path).admit(HERE, OLD)
    assert content(path) == {HERE: "500.7"}
    assert await refused(Fences(path), HERE, NEW)


async def test_it_is_told_also_where_no_agent_lives(path: Path) -> None:
    accept(path, 1)
    assert content(path) is None, "nobody has a fence yet"
    await Fences(path).admit(HERE, OLD)
    for _ in range(2):
        accept(path, 1)
        assert await refused(Fences(path), HERE, OLD)
    with calling(1):
        await Fences(path).admit(HERE, NEW)
    accept(path, 1)
    with calling(1):
        assert await refused(Fences(path), HERE, Fence(299, 8)), "it is told once"


async def test_a_living_agent_is_told_and_its_services_go_on(ground: Ground, data: Path) -> None:
    await ground.start("v1")
    await ground.route(v1=10_000)
    agent = agent_of(data)
    await ground.platform.announce(HERE, OLD)
    await accept_log(data, 1)
    late = ground.effect("late", fence=OLD)
    with pytest.raises(FenceRefusedError, match=SENTENCE):
        await ground.platform.route(late, Route(ground.listen, {}))
    with pytest.raises(FenceRefusedError):
        await ground.platform.stop(late)
    ground.platform = ProcessesPlatform(data, accepted=1)
    await ground.platform.announce(HERE, NEW)
    assert await get(ground.url) == (200, "v1")
    assert agent_of(data) == agent


async def test_what_an_agent_was_told_the_next_one_knows(ground: Ground, data: Path) -> None:
    await ground.platform.announce(HERE, OLD)
    await stop_agent(data)
    await accept_log(data, 1)
    assert not await stop_agent(data), "nobody was started for it"
    with pytest.raises(FenceRefusedError, match=SENTENCE):
        await ground.platform.announce(HERE, Fence(10_000, 9))
    await ProcessesPlatform(data, accepted=1).announce(HERE, NEW)


async def test_a_host_without_an_agent_needs_none(tmp_path: Path) -> None:
    await accept_log(tmp_path, 1)
    assert content(tmp_path / "agent" / "fences.json") is None
