"""Head: the newest durable position, published after the commit that made it so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime


class Head:
    """Tells any thread how far the log is durable, and wakes those who wait for more."""

    def __init__(self, position: int, recorded_at: datetime) -> None:
        self.position = position
        self.recorded_at = recorded_at
        """When its event was recorded; no later one may be recorded before."""
        self._wakes: set[Callable[[int], None]] = set()

    def publish(self, position: int, recorded_at: datetime) -> None:
        """Move the head; called by the writer alone."""
        self.recorded_at = recorded_at
        self.position = position
        for wake in tuple(self._wakes):
            # A loop that was closed has nobody left who waits.
            with suppress(RuntimeError):
                wake(position)

    async def beyond(self, position: int, timeout: float) -> int:
        """Return the head as soon as it is above `position`, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        moved = asyncio.Event()

        def wake(head: int) -> None:
            if head > position:
                loop.call_soon_threadsafe(moved.set)

        # Listening comes before looking, or a move between the two would be missed.
        self._wakes.add(wake)
        try:
            if self.position <= position:
                # Not `wait_for`: in Python 3.11 it forgets a cancellation that comes with the move.
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await moved.wait()
        finally:
            self._wakes.discard(wake)
        return self.position
