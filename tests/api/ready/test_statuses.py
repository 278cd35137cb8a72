# pyright: reportPrivateUsage=false
"""Kept answers: whatever happens between the parts of a read, nobody sees less than was visible."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipslog.api.ready import statuses
from shipslog.api.ready.statuses import ERASURE_SECONDS, OVERHEAD, Status, Statuses
from shipslog.domain.errors import NotFoundError

from .world import DEPLOYMENTS, STREAMS, World

ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(STREAMS)),
    st.tuples(st.just("apply"), st.integers(1, 3)),
    st.tuples(st.just("learn"), st.booleans()),
    st.tuples(st.just("ask"), st.sampled_from(DEPLOYMENTS)),
    st.tuples(st.just("ask"), st.sampled_from(DEPLOYMENTS[:1])),
    st.tuples(st.just("tell"), st.sampled_from(STREAMS)),
    st.tuples(st.just("tell of any"), st.sampled_from(STREAMS)),
    st.tuples(st.just("step"), st.integers(1, 6)),
    st.tuples(st.just("step"), st.just(6)),
    st.tuples(st.just("erase"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 2.5])),
)
BUDGETS = st.sampled_from([0, 2 * OVERHEAD, 8 * OVERHEAD, 1_000_000])
EASY = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
Value = Any
"""Which stream, how many, how long: what an action needs."""
Play = Callable[[World, Statuses], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Play, int], None]:
    """Run a story in a world, on its clock, over its query."""

    def run(story: Play, ready_bytes: int = 1_000_000) -> None:
        async def main() -> None:
            world = World(ready_bytes)
            monkeypatch.setattr(statuses, "monotonic", lambda: world.now)
            monkeypatch.setattr(statuses, "_standing", World.asked)
            await story(world, Statuses(world.services))

        asyncio.run(main())

    return run


@EASY
@given(actions=st.lists(ACTIONS, min_size=10, max_size=80), ready_bytes=BUDGETS)
def test_nobody_sees_less_than_was_visible_when_they_asked(
    play: Callable[[Play, int], None], actions: list[tuple[str, Value]], ready_bytes: int
) -> None:
    async def story(world: World, kept: Statuses) -> None:
        readers: list[asyncio.Task[None]] = []
        for name, value in actions:
            if name == "ask":
                readers.append(asyncio.create_task(read(world, kept, value)))
                await asyncio.sleep(0)
            else:
                await act(world, name, value)
            check_books(kept, ready_bytes)
        while not all(reader.done() for reader in readers):
            await world.step()
        await asyncio.gather(*readers)
        check_books(kept, ready_bytes)

    play(story, ready_bytes)


async def act(world: World, name: str, value: Value) -> None:
    if name == "write":
        world.log.append(value)
    elif name == "apply":
        world.applied = min(len(world.log), world.applied + value)
    elif name == "learn":
        world.learn(knows_which=value)
    elif name in {"tell", "tell of any"}:
        world.log.append(value)
        world.applied = len(world.log)
        world.learn(knows_which=name == "tell")
    elif name == "step":
        for _ in range(value):
            await world.step()
    elif name == "erase":
        world.erased_at = world.erased_at or world.now
    else:
        world.now += value


async def read(world: World, kept: Statuses, deployment: str) -> None:
    """Ask, and hold the answer to what was visible at that moment."""
    visible = world.seen(world.position)
    was_erased = world.erased_at is not None and world.now > world.erased_at + ERASURE_SECONDS
    document = msgspec.json.decode((await kept.get(deployment)).body)
    assert document["position"] >= visible[f"deployment:{deployment}"]
    target = f"target:{world.environment(deployment)}/web"
    assert int(document["live"]["version"]) >= visible[target]
    assert not (was_erased and document["requested_by"])


def check_books(kept: Statuses, ready_bytes: int) -> None:
    sizes = sum(status.size for status in kept._kept.values())
    assert sizes <= ready_bytes
    assert kept._left == ready_bytes - sizes
    told = {(stream, path) for stream, paths in kept._telling.items() for path in paths}
    assert told == {(s, path) for path, status in kept._kept.items() for s in status.streams}


async def answered(world: World, kept: Statuses, deployment: str) -> Status:
    task = asyncio.create_task(kept.get(deployment))
    while not task.done():
        await world.step()
    return task.result()


def test_a_kept_answer_asks_nobody(play: Callable[[Play], None]) -> None:
    async def story(world: World, kept: Statuses) -> None:
        first = await answered(world, kept, "d0")
        assert await kept.get("d0") is first
        assert not world.gates
        world.log.append("deployment:d1")
        world.applied = 1
        world.learn(knows_which=True)
        assert await kept.get("d0") is first
        world.log.append("target:red/web")
        world.applied = 2
        world.learn(knows_which=True)
        assert await answered(world, kept, "d0") is not first

    play(story)


def test_many_who_ask_are_one_query(play: Callable[[Play], None]) -> None:
    async def story(world: World, kept: Statuses) -> None:
        readers = [asyncio.create_task(kept.get(one)) for one in DEPLOYMENTS * 50]
        queries = 0
        while not all(reader.done() for reader in readers):
            queries += len(world.gates)
            await world.step()
        # Erasures, the query before and after, the names before and after: each once.
        assert queries == 5
        assert len({reader.result() for reader in readers}) == len(DEPLOYMENTS)

    play(story)


def test_an_unknown_one_is_not_found_and_not_kept(play: Callable[[Play], None]) -> None:
    async def story(world: World, kept: Statuses) -> None:
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await answered(world, kept, "nobody")
        assert not kept._kept

    play(story)


def test_a_failed_read_fails_those_who_asked_and_nobody_else(play: Callable[[Play], None]) -> None:
    async def story(world: World, kept: Statuses) -> None:
        works, world.services.directory = world.services.directory, None  # type: ignore[misc,assignment]
        with pytest.raises(AttributeError):
            await answered(world, kept, "d0")
        world.services.directory = works  # type: ignore[misc]
        assert (await answered(world, kept, "d0")).tag

    play(story)


def test_an_erasure_drops_what_was_kept(play: Callable[[Play], None]) -> None:
    async def story(world: World, kept: Statuses) -> None:
        assert b"alice" in (await answered(world, kept, "d0")).body
        world.erased_at = world.now
        world.now += ERASURE_SECONDS + 0.1
        assert b"alice" not in (await answered(world, kept, "d0")).body

    play(story)
