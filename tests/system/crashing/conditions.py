"""Conditions: waited for, each at most so long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

TICK = 0.01


async def eventually(claim: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Return whether a claim comes to hold within so many seconds."""
    end = time.monotonic() + seconds
    while True:
        if await claim():
            return True
        if time.monotonic() > end:
            return False
        await asyncio.sleep(TICK)


def soon(claim: Callable[[], object], seconds: float) -> bool:
    """Return whether a claim comes to hold within so many seconds."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(TICK)
    return True
