"""SqliteLog: the port `Log` on SQLite."""

from __future__ import annotations

from ....domain.append import Append, Appended
from ..rows import Settled, prepare
from .connections import Readers
from .reading import SqliteReader
from .writer import Opened, Writer


class SqliteLog(SqliteReader):
    """Reads on read-only connections, appends through the one writer."""

    def __init__(self, readers: Readers, writer: Writer, opened: Opened) -> None:
        super().__init__(readers)
        self._writer = writer
        self._durable = opened.head
        self._settlements = opened.settlements

    async def append(self, append: Append) -> Appended:
        """Implement `Log.append`."""
        appended = await self._writer.append(prepare(append))
        return self.with_events(appended) if appended.known else appended

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Implement `Log.wait_beyond`."""
        return await self._durable.beyond(position, timeout)

    def settled(self, command_id: str) -> Settled | None:
        """Return what a command came to; the newest are in the writer's memory."""
        # Memory first: what leaves it is in the index by then.
        return self._settlements.recent.get(command_id) or self._indexed(command_id)

    def _newest(self) -> int:
        return self._durable.position
