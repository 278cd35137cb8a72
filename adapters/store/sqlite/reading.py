"""SqliteReader: the log as it is read, on read-only connections, up to the durable head."""

from __future__ import annotations

import asyncio
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from ....domain.append import Appended
from ....domain.event import Recorded, decode
from ....domain.ports import Stretch
from ..rows import STRETCH_BYTES, STRETCH_ROWS, Row, Settled, missing, stream_and_version
from ..verify import Finding, verify
from .connections import Readers
from .settled import by_index, newer

Result = TypeVar("Result")

INLINE_ROWS = 256
"""So many rows are read where the caller stands; what is more goes to a thread."""
SCAN_ROWS = 500
"""Larger pages are slower: what they hold falls out of the processor's cache."""

_STREAM = """
SELECT position, state FROM stored_events
WHERE originator_id = ? AND originator_version > ? AND position <= ?
ORDER BY originator_version LIMIT ?
"""
_PAGE = """
SELECT position, state FROM stored_events
WHERE position > ? AND position <= ? ORDER BY position LIMIT ?
"""
_STATE = "SELECT state FROM stored_events WHERE position = ?"
_POSITION = "SELECT position FROM stored_events WHERE originator_id = ? AND originator_version = ?"
_ROWS = """
SELECT position, originator_id, originator_version, topic, state FROM stored_events
WHERE position > ? AND position <= ? ORDER BY position LIMIT ?
"""
_ROWS_BY_STREAM = """
SELECT position, originator_id, originator_version, topic, state FROM stored_events
WHERE (originator_id, originator_version) > (?, ?) AND position <= ?
ORDER BY originator_id, originator_version LIMIT ?
"""


class SqliteReader:
    """Reads the log; implements the reading half of `Log`, `Archive` and what `verify` asks for."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._newer: Mapping[str, Settled] = {}

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Implement `Log.stream`."""
        events = self._stream(stream, after, INLINE_ROWS)
        if len(events) == INLINE_ROWS:
            after = events[-1].header.stream_version
            events += await asyncio.to_thread(self._stream, stream, after, -1)
        return events

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.page`."""
        inline = min(limit, INLINE_ROWS)
        events = self._page(after, self._newest(), inline)
        if len(events) == inline < limit:
            after = events[-1].position
            events += await asyncio.to_thread(self._page, after, self._newest(), limit - inline)
        return events

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.newer`."""
        return await self.page(after=after, limit=limit)

    async def head(self) -> int:
        """Implement `Log.head`."""
        return self._newest()

    async def command(self, command_id: str) -> Appended | None:
        """Implement `Log.command`."""
        settled = self.settled(command_id)
        return self._appended(settled) if settled else None

    def scan(self, *, after: int = 0, upto: int | None = None) -> Iterator[Recorded]:
        """Implement `Archive.scan`."""
        last = self._newest() if upto is None else min(upto, self._newest())
        while found := self._all(_PAGE, (after, last, SCAN_ROWS)):
            for position, state in found:
                yield decode(position, state)
            after = found[-1][0]

    def stretches(
        self, make: Callable[[Stretch], Result], *, after: int, upto: int
    ) -> Iterator[Result]:
        """Implement `Ledger.stretches`."""
        while after < upto:
            stretch = Stretch(after + 1, self._states(after, upto))
            after = stretch.last
            yield make(stretch)

    async def as_of(self, instant: datetime) -> int:
        """Implement `Ledger.as_of`."""
        return bisect_right(range(1, self._newest() + 1), instant, key=self._recorded_at)

    async def positions_of(self, references: Collection[str]) -> Mapping[str, int]:
        """Implement `Ledger.positions_of`."""
        found = {one: self.position_of(*stream_and_version(one)) for one in references}
        return {one: position for one, position in found.items() if position is not None}

    def rows(self) -> Iterator[Row]:
        """Implement `Evidence.rows`."""
        after, last = 0, self._newest()
        while found := self._all(_ROWS, (after, last, SCAN_ROWS)):
            yield from map(Row._make, found)
            after = found[-1][0]

    def rows_by_stream(self) -> Iterator[Row]:
        """Implement `Evidence.rows_by_stream`."""
        after, last = ("", 0), self._newest()
        while found := self._all(_ROWS_BY_STREAM, (*after, last, SCAN_ROWS)):
            yield from map(Row._make, found)
            after = found[-1][1], found[-1][2]

    def position_of(self, stream: str, version: int) -> int | None:
        """Implement `Evidence.position_of`."""
        found = self._all(_POSITION, (stream, version))
        return found[0][0] if found else None

    def settled(self, command_id: str) -> Settled | None:
        """Implement `Evidence.settled`."""
        found = self._indexed(command_id) or self._newer.get(command_id)
        if found is None:
            with self._readers.borrow() as connection:
                self._newer = newer(connection)
            # It may have gone from there into the index between the two looks.
            found = self._newer.get(command_id) or self._indexed(command_id)
        return found

    def last_settled(self) -> int:
        """Implement `Evidence.last_settled`."""
        last: int = self._all("SELECT coalesce(max(last), 0) FROM commands", ())[0][0]
        return last

    def verify(self) -> Iterator[Finding]:
        """Yield everything that does not hold together; nothing at all for a sound log."""
        try:
            yield from verify(self)
        except sqlite3.DatabaseError as error:
            yield Finding(0, "", f"the file is damaged: {error}")

    def with_events(self, appended: Appended) -> Appended:
        """Return the answer to a known command with the events that it came to."""
        settled = Settled("", appended.first, appended.last)
        return replace(self._appended(settled), known=True)

    def _appended(self, settled: Settled) -> Appended:
        first, last = settled.first, settled.last
        return Appended(first, last, tuple(self._page(first - 1, last, -1)))

    def _stream(self, stream: str, after: int, limit: int) -> list[Recorded]:
        found = self._all(_STREAM, (stream, after, self._newest(), limit))
        return [decode(position, state) for position, state in found]

    def _page(self, after: int, upto: int, limit: int) -> list[Recorded]:
        found = self._all(_PAGE, (after, upto, limit))
        return [decode(position, state) for position, state in found]

    def _states(self, after: int, upto: int) -> list[bytes]:
        states: list[bytes] = []
        size = 0
        with self._readers.borrow() as connection:
            rows = connection.execute(_PAGE, (after, upto, STRETCH_ROWS))
            for position, state in rows:
                if position != after + len(states) + 1:
                    break
                states.append(state)
                size += len(state)
                if size > STRETCH_BYTES:
                    break
            # What is not read to its end would hold the write-ahead log back.
            rows.close()
        if not states:
            raise missing(after + 1)
        return states

    def _recorded_at(self, position: int) -> datetime:
        return decode(position, self._all(_STATE, (position,))[0][0]).header.recorded_at

    def _indexed(self, command_id: str) -> Settled | None:
        with self._readers.borrow() as connection:
            return by_index(connection, (command_id,)).get(command_id)

    def _newest(self) -> int:
        newest: int = self._all("SELECT coalesce(max(position), 0) FROM stored_events", ())[0][0]
        return newest

    def _all(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        with self._readers.borrow() as connection:
            return connection.execute(query, values).fetchall()
