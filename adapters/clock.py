"""SystemClock: the machine's own time, which nobody sets back or ahead while we run."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

SLEW = 0.05
"""The most by which this clock goes faster or slower than time, to come to the wall clock."""


def wall() -> float:
    """Return what the machine's wall clock says, in seconds since 1970."""
    return time.time()


class SystemClock:
    """Implements `Clock` on the machine's wall clock and the event loop's timers.

    It starts with the wall clock and goes on by the time since boot, sleep included. A wall clock
    that is set an hour ahead or back would end stages too early, and let others wait for the hour
    to come again; so this one comes to it slowly. One process has one of them.
    """

    def __init__(self) -> None:
        self._last = wall(), since_boot()
        """An instant that was told, and when."""

    def now(self) -> datetime:
        """Return the present instant, UTC."""
        told, at = self._last
        present = since_boot()
        passed = present - at
        ahead = wall() - told - passed
        most = passed * SLEW
        told += passed + max(-most, min(ahead, most))
        # One assignment, because another thread may ask too.
        self._last = told, present
        return datetime.fromtimestamp(told, UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop's monotonic clock."""
        await asyncio.sleep(seconds)


def since_boot() -> float:
    """Return seconds since the machine started, those included for which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
