"""The head wakes those who wait, and keeps nobody who was called off."""

import asyncio

import pytest

from shipslog.adapters.store.head import Head

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
