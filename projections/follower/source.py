"""Source: what is followed, the reading half of the port `Log`."""

from __future__ import annotations

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
