"""How far the log is durable, for this process and for all others that read it.

What a synchronous commit shows is durable already. A writer that releases the order lock early
shows its events before they are flushed, so whoever reads must not hand them out before: either
the log was flushed up to where it ended after the read, or the reader flushes it itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import LiteralString

from psycopg import AsyncConnection

from ....domain.event import Recorded
from ..head import Head, Tail
from .connections import Connections, Row
from .line.meeting import Line

MEASURED = 7

# Where a standby has to have it too, only a commit that waits for the standby can say so.
FLUSHED = """
pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn()
AND current_setting('synchronous_standby_names') = ''
"""
# What a snapshot shows was written into the log before the statement asks where the log ends.
HEAD = f"""
SELECT coalesce((SELECT max(position) FROM stored_events), 0), {FLUSHED}
"""  # noqa: S608 - of constants
BARRIER = "SELECT pg_logical_emit_message(true, 'shipslog', '')"
"""A commit of its own, whose flush covers everything that was committed before."""

_EMPTY = datetime.min.replace(tzinfo=UTC)


class DurableHead:
    """Knows the newest durable position; followers wait for it to move."""

    def __init__(self, connections: Connections, line: Line | None = None) -> None:
        self._connections = connections
        self._line = line
        self._head = Head(0, _EMPTY)
        self.tail = Tail()
        self.writes_by = 0
        """The server's process by which this process writes, which tells others of it."""
        self._flushing = asyncio.Lock()

    @property
    def position(self) -> int:
        """The newest position known to be durable."""
        return self._head.position

    def publish(self, position: int) -> None:
        """Say that the log is durable up to a position."""
        if position > self._head.position:
            self._head.publish(position, _EMPTY)

    def wrote(self, events: Sequence[Recorded]) -> None:
        """Say that events of this process's own are durable, and with them all before them."""
        self.tail.add(events)
        self.saw(events)
        self.publish(events[-1].position)

    def saw(self, events: Sequence[Recorded]) -> None:
        """Remember the last of some events that are durable."""
        if self._line is not None:
            self._line.marks.note(events[-1:])

    async def beyond(self, position: int, timeout: float) -> int:
        """Return the head as soon as it is above `position`, or after `timeout` seconds."""
        return await self._head.beyond(position, timeout)

    async def assure(self, position: int) -> None:
        """Return once a position that was read is durable."""
        if position <= self.position:
            return
        async with self._connections.borrow() as connection:
            (flushed,) = await _one(connection, f"SELECT {FLUSHED}")
        if not flushed:
            await self._flush(position)
        self.publish(position)

    async def refresh(self) -> int:
        """Ask the database for the head, and return it once it is durable."""
        async with self._connections.borrow() as connection:
            position, flushed = await _one(connection, HEAD)
        if not flushed:
            await self._flush(position)
        self.publish(position)
        return self.position

    async def _flush(self, position: int) -> None:
        # One at a time: where a standby is away they wait, and take no more connections than one.
        async with self._flushing:
            if position > self.position:
                async with self._connections.borrow() as connection:
                    await connection.execute(BARRIER)

    def refresh_plain(self) -> int:
        """Do the same where the caller stands."""
        with self._connections.borrow_plain() as connection:
            position, flushed = connection.execute(HEAD).fetchone() or (0, True)
            if position > self.position and not flushed:
                connection.execute(BARRIER)
        return int(position)


async def measured_flush(connection: AsyncConnection[Row]) -> float:
    """Return how many seconds a flush takes: a commit that needs one, less one that needs none."""
    durations: dict[LiteralString, list[float]] = {BARRIER: [], "SELECT 1": []}
    for _ in range(MEASURED):
        for statement, taken in durations.items():
            began = time.perf_counter()
            await connection.execute(statement)
            taken.append(time.perf_counter() - began)
    return median(durations[BARRIER]) - median(durations["SELECT 1"])


async def _one(connection: AsyncConnection[Row], query: LiteralString) -> Row:
    found = await (await connection.execute(query)).fetchone()
    return found or ()
