"""The head wakes those who wait, and keeps nobody who was called off; its tail has no gap."""

import asyncio
from collections.abc import Iterable

import pytest

from shipslog.adapters.store import head as heads
from shipslog.adapters.store.head import Head, Tail
from shipslog.domain.event import Recorded

from .making import START

TURNS = range(6)
"""Of the loop, from the head's move until the one who waits goes on: each is tried."""


@pytest.mark.parametrize("turns", TURNS)
async def test_a_cancellation_that_comes_with_the_move_is_kept(turns: int) -> None:
    head = Head(0, START)
    waiting = asyncio.create_task(head.beyond(0, 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    head.publish(1, START)
    for _ in range(turns):
        await asyncio.sleep(0)
    was_called_off = waiting.cancel()
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError) is was_called_off
    assert was_called_off or outcome == 1


async def test_who_waits_too_long_is_told_where_the_head_is() -> None:
    assert await Head(3, START).beyond(3, 0.001) == 3
    assert await Head(3, START).beyond(2, 30) == 3


def written(positions: Iterable[int], payload: bytes = b"{}") -> list[Recorded]:
    """Return events of which only the place and the size matter."""
    return [Recorded(position, None, payload) for position in positions]  # type: ignore[arg-type]


def positions(events: Iterable[Recorded]) -> list[int]:
    return [event.position for event in events]


def test_what_follows_a_position_is_returned() -> None:
    kept = Tail()
    kept.add(written(range(5, 10)))
    assert positions(kept.page(4, 100)) == [5, 6, 7, 8, 9]
    assert positions(kept.page(6, 2)) == [7, 8]
    assert positions(kept.page(8, 100)) == [9]


@pytest.mark.parametrize("after", [0, 3, 9, 10])
def test_what_it_does_not_have_is_to_be_read(after: int) -> None:
    kept = Tail()
    assert not kept.page(after, 100)
    kept.add(written(range(5, 10)))
    assert not kept.page(after, 100)


def test_behind_what_others_have_written_it_begins_anew() -> None:
    kept = Tail()
    kept.add(written([5, 6]))
    kept.add(written([8]))
    assert not kept.page(4, 100)
    assert not kept.page(6, 100)
    assert positions(kept.page(7, 100)) == [8]


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "TAIL_EVENTS", 3)
    monkeypatch.setattr(heads, "TAIL_BYTES", 100)
    kept = Tail()
    kept.add(written(range(1, 10)))
    assert not kept.page(5, 100)
    assert positions(kept.page(6, 100)) == [7, 8, 9]
    kept.add(written([10], b"x" * 90))
    assert positions(kept.page(6, 100)) == []
    assert positions(kept.page(7, 100)) == [8, 9, 10]
    kept.add(written([11], b"x" * 90))
    assert positions(kept.page(10, 100)) == [11]
