"""A try has one end, however it is stopped; what it was performing has ended before that."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from shipslog.api.worker.attempt import Attempt
from shipslog.domain.commands import FinishStage
from shipslog.domain.errors import FenceLostError, LedgerError
from shipslog.domain.event import Fence
from shipslog.domain.plan import PlannedStage
from shipslog.domain.ports import Effect, EffectKey
from shipslog.domain.stages import PERFORM, Outcome, SnapshotSpec, Work
from shipslog.domain.stages.work import succeeded

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG = 30.0


class Bench:
    """What a try is made of, and what became of it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.ended = asyncio.Event()
        self.left = False
        """Whether what was performed was told to end."""

    def begin(self) -> Attempt:
        stage = PlannedStage(name="snapshot", spec=SnapshotSpec(), timeout=600)
        effect = Effect(EffectKey("d", "snapshot", 1), "t", Fence(1, 1), NOW + timedelta(hours=1))
        outside = SimpleNamespace(clock=SimpleNamespace(now=lambda: NOW))
        work = SimpleNamespace(stage=stage, effect=effect, outside=outside)
        return Attempt(cast("Work", work), self.ended.set)

    async def begun(self) -> None:
        async with asyncio.timeout(LONG):
            await self.reached.wait()

    async def end_of(self, tried: Attempt) -> FinishStage:
        async with asyncio.timeout(LONG):
            await self.ended.wait()
        assert tried.outcome is not None
        return tried.outcome


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[Outcome]]], None]:
    """Let a stage do what a test says."""

    def say(act: Callable[[], Awaitable[Outcome]]) -> None:
        monkeypatch.setitem(PERFORM, SnapshotSpec, lambda _spec, _work: act())

    return say


Perform = Callable[[Callable[[], Awaitable[Outcome]]], None]


async def test_what_is_stopped_before_it_begins_does_nothing(
    bench: Bench, perform: Perform
) -> None:
    async def act() -> Outcome:
        bench.left = True
        return succeeded()

    perform(act)
    tried = bench.begin()
    tried.stop()
    assert (await bench.end_of(tried)).outcome == "cancelled"
    assert not bench.left


@pytest.mark.parametrize("error", [None, LedgerError("away"), ValueError("broken")])
async def test_what_is_stopped_ends_as_cancelled_however_it_takes_it(
    bench: Bench, perform: Perform, error: Exception | None
) -> None:
    async def act() -> Outcome:
        bench.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            bench.left = True
            if error:
                raise error
        raise AssertionError

    perform(act)
    tried = bench.begin()
    await bench.begun()
    tried.stop()
    tried.stop()
    assert (await bench.end_of(tried)).outcome == "cancelled"
    assert bench.left


async def test_what_has_come_to_its_end_is_not_stopped(bench: Bench, perform: Perform) -> None:
    async def act() -> Outcome:
        return succeeded()

    perform(act)
    tried = bench.begin()
    await bench.ended.wait()
    tried.stop()
    assert (await bench.end_of(tried)).outcome == "succeeded"


async def test_what_comes_to_its_end_as_it_is_stopped_has_come_to_it(
    bench: Bench, perform: Perform
) -> None:
    going_on = asyncio.Event()

    async def act() -> Outcome:
        bench.reached.set()
        await going_on.wait()
        return succeeded()

    perform(act)
    tried = bench.begin()
    await bench.begun()
    going_on.set()
    tried.stop()
    assert (await bench.end_of(tried)).outcome == "succeeded"


async def test_who_has_lost_the_lease_says_so(bench: Bench, perform: Perform) -> None:
    async def act() -> Outcome:
        raise FenceLostError(stream="d", token=1)

    perform(act)
    tried = bench.begin()
    with pytest.raises(FenceLostError):
        await bench.end_of(tried)


async def test_what_is_dropped_has_no_outcome(bench: Bench, perform: Perform) -> None:
    async def act() -> Outcome:
        bench.reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    perform(act)
    tried = bench.begin()
    await bench.begun()
    (left,) = await asyncio.gather(tried.drop(), return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
