"""Batches of an export: made on a thread, in order, and no more of them than are taken."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import count

import pytest

from shipslog.api.exporting import batches
from shipslog.api.exporting.batches import BATCH, TURN, take
from shipslog.domain.errors import CorruptLogError
from shipslog.projections.exports import Chunk


class Making:
    """Chunks without an end, or up to a fault."""

    def __init__(self, upto: int | None = None) -> None:
        self.made = 0
        self.threads: set[int] = set()
        self._upto = upto

    def chunks(self) -> Iterator[Chunk]:
        while self.made != self._upto:
            self.made += 1
            self.threads.add(threading.get_ident())
            yield Chunk(b"%d" % self.made, self.made, 1)
        raise CorruptLogError(position=self.made, detail="broken")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as running:
        yield running


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1, 100])
async def test_everything_comes_once_and_in_order(threads: ThreadPoolExecutor, count: int) -> None:
    chunks = [Chunk(b"%d" % n, n, 1) for n in range(count)]
    assert [c async for batch in batches(iter(chunks), threads) for c in batch] == chunks


async def test_nothing_is_made_on_the_event_loop(threads: ThreadPoolExecutor) -> None:
    making = Making(upto=30)
    with pytest.raises(CorruptLogError):
        async for _ in batches(making.chunks(), threads):
            pass
    assert threading.get_ident() not in making.threads


async def test_one_batch_is_made_ahead_of_who_takes_slowly() -> None:
    making, threads = Making(), ThreadPoolExecutor(2)
    async with aclosing(batches(making.chunks(), threads)) as coming:
        await anext(coming)
        await asyncio.to_thread(threads.shutdown)
        assert making.made == 2 * BATCH


async def test_a_fault_comes_behind_what_was_made_before(threads: ThreadPoolExecutor) -> None:
    making = Making(upto=3 * BATCH)
    taken: list[Chunk] = []

    async def take() -> None:
        async for batch in batches(making.chunks(), threads):
            taken.extend(batch)

    with pytest.raises(CorruptLogError):
        await take()
    assert len(taken) == 3 * BATCH


async def test_who_stops_taking_leaves_one_batch_behind() -> None:
    making, threads = Making(), ThreadPoolExecutor(2)
    async with aclosing(batches(making.chunks(), threads)) as coming:
        await anext(coming)
    await asyncio.to_thread(threads.shutdown)
    assert making.made <= 2 * BATCH


@pytest.mark.parametrize(("seconds", "pauses"), [(TURN / 16, 0), (TURN * 2, BATCH)])
def test_others_get_the_interpreter_after_a_turn_and_not_after_every_chunk(
    monkeypatch: pytest.MonkeyPatch, seconds: float, pauses: int
) -> None:
    slept: list[float] = []
    clock = count(0, seconds)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "sleep", slept.append)
    chunks = [Chunk(b"%d" % n, n, 1) for n in range(BATCH)]
    assert take(iter(chunks)) == chunks
    assert slept == [0] * pauses


async def test_a_fault_that_nobody_waits_for_is_no_noise(threads: ThreadPoolExecutor) -> None:
    async with aclosing(batches(Making(upto=BATCH).chunks(), threads)) as coming:
        await anext(coming)
