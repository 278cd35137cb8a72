"""PostgresLog: the port `Log` on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from ....domain.append import Append, Appended
from ....domain.event import Recorded
from ..rows import prepare
from .appending import require_storable
from .channel import Questions
from .connections import Connections
from .durable import DurableHead
from .news import Listener
from .reading import PostgresReader
from .writer import Writer


class PostgresLog(PostgresReader):
    """Reads on connections of the pool, appends through this process's writer."""

    def __init__(
        self, connections: Connections, head: DurableHead, questions: Questions, writer: Writer
    ) -> None:
        super().__init__(connections, head, questions)
        self._writer = writer
        self._listener = Listener(connections, head)

    async def append(self, append: Append) -> Appended:
        """Implement `Log.append`."""
        require_storable(append)
        appended = await self._writer.append(prepare(append))
        return await self.with_events(appended) if appended.known else appended

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.newer`; what this process has just written is at hand."""
        return self._durable.tail.page(after, limit) or await self.page(after=after, limit=limit)

    async def close(self) -> None:
        """Follow no more."""
        await self._listener.close()

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Implement `Log.wait_beyond`."""
        return await self._listener.beyond(position, timeout)
