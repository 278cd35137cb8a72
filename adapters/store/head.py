"""Head: the newest durable position, published after the commit that made it so; and its tail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from ...domain.event import Recorded

TAIL_EVENTS = 1024
TAIL_BYTES = 1024 * 1024
"""Of all payloads together; the headers come on top."""


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
            if head <= position:
                return
            if _is_here(loop):
                moved.set()
            else:
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


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether the caller is in a loop's own thread, which needs not be woken."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class Tail:
    """The newest events that this process has written, so that its followers need not read them.

    An event is taken in once it is durable, and before anybody is told that the log has grown.
    Without a gap, bounded in number and size.
    """

    def __init__(self) -> None:
        self._events: deque[Recorded] = deque()
        self._size = 0

    def add(self, events: Iterable[Recorded]) -> None:
        """Take in what was stored, in the order of the log; after a gap, begin anew."""
        kept = self._events
        for event in events:
            if kept and kept[-1].position != event.position - 1:
                kept.clear()
                self._size = 0
            kept.append(event)
            self._size += len(event.payload)
            while len(kept) > TAIL_EVENTS or self._size > TAIL_BYTES:
                self._size -= len(kept.popleft().payload)

    def page(self, after: int, limit: int) -> Sequence[Recorded]:
        """Return what follows a position without a gap; none where that is not known here."""
        kept = self._events
        if not kept or not kept[0].position <= after + 1 <= kept[-1].position:
            return ()
        first = after + 1 - kept[0].position
        return [kept[n] for n in range(first, min(first + limit, len(kept)))]
