"""Source: what is followed, the reading half of the port `Log`, and reading ahead in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ...domain.event import Recorded


class Source(Protocol):
    """The reading half of `Log`."""

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Return one stream's events above a stream version, in order."""
        ...

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Return at most `limit` events above a position, in order."""
        ...

    async def head(self) -> int:
        """Return the position of the newest event, 0 for an empty log."""
        ...


class Ahead:
    """Reads the next page while the one before is folded."""

    def __init__(self, log: Source) -> None:
        self._log = log
        self._after = -1
        self._reading: asyncio.Task[Sequence[Recorded]] | None = None

    def begin(self, after: int, limit: int) -> None:
        """Begin to read a page that will most likely be asked for."""
        self._after = after
        self._reading = asyncio.create_task(self._page(after, limit))

    async def page(self, after: int, limit: int) -> Sequence[Recorded]:
        """Return the page that was begun, or where it is another one, that."""
        reading, self._reading = self._reading, None
        if reading is None:
            return await self._page(after, limit)
        if self._after == after:
            return await reading
        reading.cancel()
        return await self._page(after, limit)

    def cancel(self) -> None:
        """Read nothing any more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _page(self, after: int, limit: int) -> Sequence[Recorded]:
        return await self._log.page(after=after, limit=limit)
