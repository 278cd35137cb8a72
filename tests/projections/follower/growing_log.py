"""A log that is known in full and shown up to a point, so that each position can be looked at."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from shipslog.domain.append import Append, Appended
from shipslog.domain.event import Recorded


class GrowingLog:
    """Implements the reading half of `Log` over events told before."""

    def __init__(self, events: Sequence[Recorded], shown: int | None = None) -> None:
        self.events = list(events)
        self.shown = len(self.events) if shown is None else shown
        self.pages_asked = 0
        self.asked = asyncio.Event()
        self.fault: Exception | None = None
        """Raised by the next page that is asked for."""
        self._grown = asyncio.Event()

    def grow(self, to: int) -> None:
        """Let the log have everything up to a position, and say so."""
        self.shown = to
        self.hint()

    def hint(self) -> None:
        """Say that there is something new, whether there is or not."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def append(self, append: Append) -> Appended:
        """Refuse: nobody writes here."""
        raise AssertionError(append)

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Implement `Log.stream`."""
        mine = [e for e in self.events[: self.shown] if e.header.stream == stream]
        return [e for e in mine if e.header.stream_version > after]

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.page`."""
        self.pages_asked += 1
        self.asked.set()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return self.events[after : min(after + limit, self.shown)]

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.newer`; it is no page that was asked for."""
        events = await self.page(after=after, limit=limit)
        self.pages_asked -= 1
        return events

    async def head(self) -> int:
        """Implement `Log.head`."""
        return self.shown

    async def command(self, command_id: str) -> Appended | None:
        """Know no command."""
        raise AssertionError(command_id)

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Implement `Log.wait_beyond`; a hint alone ends the wait too."""
        if self.shown <= position:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), timeout)
        return self.shown
