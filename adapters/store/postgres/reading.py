"""PostgresReader: the log as it is read, up to the durable head.

A follower, a fold and a request read on the event loop; who replays, exports or verifies reads
on a thread of its own, page by page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString, NamedTuple, TypeVar
from weakref import WeakSet

import psycopg
from msgspec.structs import replace
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from ....domain.append import Appended
from ....domain.errors import CorruptLogError
from ....domain.event import Recorded, decode
from ....domain.ports import Stretch
from ..rows import STRETCH_BYTES, STRETCH_ROWS, Row, Settled, missing, stream_and_version
from ..verify import Finding, verify
from .channel import Questions
from .channel import Row as Answered
from .connections import Connections
from .durable import BARRIER, DurableHead
from .wire import int8, int_array, read_int, text_array

Result = TypeVar("Result")

SCAN_ROWS = 2000

STREAMS = {
    b"stream": b"""
        SELECT position, state FROM stored_events
        WHERE originator_id = $1 AND originator_version > $2 ORDER BY originator_version""",
    b"streams": b"""
        SELECT position, state, number
        FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS asked (stream, after, number)
        CROSS JOIN LATERAL (
            SELECT originator_version, position, state FROM stored_events
            WHERE originator_id = stream AND originator_version > after
        ) AS found ORDER BY number, originator_version""",
}
_PAGE = """
SELECT position, state FROM stored_events
WHERE position > %s AND position <= %s ORDER BY position LIMIT %s
"""
_NAME = b"stretch"
_PREPARE = """
PREPARE stretch (bigint, bigint, bigint) AS
SELECT position, state FROM (
    SELECT position, state,
        sum(octet_length(state)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS size
    FROM stored_events WHERE position > $1 AND position <= $2
) AS rows WHERE size - octet_length(state) <= $3 ORDER BY position
"""
# What is not in hex is no command.
_SETTLED = """
SELECT encode(sha256, 'hex'), first, last FROM commands
WHERE id = CASE WHEN %(id)s ~ '^([0-9a-f]{2})+$' THEN decode(%(id)s, 'hex') END
"""
_POSITION = """
SELECT position FROM stored_events WHERE originator_id = %s AND originator_version = %s
"""
_POSITIONS = """
SELECT originator_id || '@' || originator_version, position
FROM unnest(%b, %b) AS asked (stream, version)
JOIN stored_events ON originator_id = stream AND originator_version = version
"""
_RECORDED_AT = "SELECT recorded_at FROM stored_events WHERE position = %s"
_ROWS = """
SELECT position, originator_id, originator_version, topic, state, recorded_at FROM stored_events
WHERE position > %s AND position <= %s ORDER BY position LIMIT %s
"""
_ROWS_BY_STREAM = """
SELECT position, originator_id, originator_version, topic, state FROM stored_events
WHERE (originator_id, originator_version) > (%s, %s) AND position <= %s
ORDER BY originator_id, originator_version LIMIT %s
"""
_NO_END = 2**63 - 1


class _Question(NamedTuple):
    """A stream that somebody waits for."""

    stream: str
    after: int
    answer: asyncio.Future[Sequence[Recorded]]


class PostgresReader:
    """Reads the log; implements the reading half of `Log`, `Archive` and what `verify` asks for."""

    def __init__(self, connections: Connections, head: DurableHead, questions: Questions) -> None:
        self._connections = connections
        self._durable = head
        self._ask_for = questions.ask
        self._questions: list[_Question] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._prepared: WeakSet[psycopg.Connection[Any]] = WeakSet()
        """Connections that know how to read a stretch."""

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Implement `Log.stream`; what is asked in one turn of the loop is one query."""
        loop = asyncio.get_running_loop()
        question = _Question(stream, after, loop.create_future())
        if not self._questions or self._questions[0].answer.get_loop() is not loop:
            self._questions = []
            loop.call_soon(self._ask)
        self._questions.append(question)
        return await question.answer

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.page`."""
        return await self._events(_PAGE, (after, _NO_END, limit))

    async def head(self) -> int:
        """Implement `Log.head`."""
        return await self._durable.refresh()

    async def command(self, command_id: str) -> Appended | None:
        """Implement `Log.command`."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_SETTLED, {"id": command_id})).fetchone()
            if found is None:
                return None
            if found[2] > self._durable.position or found[1] > found[2]:
                await connection.execute(BARRIER)
        _, first, last = found
        return Appended(first, last, await self._between(first, last))

    def scan(self, *, after: int = 0, upto: int | None = None) -> Iterator[Recorded]:
        """Implement `Archive.scan`."""
        newest = self._durable.refresh_plain()
        last = newest if upto is None else min(upto, newest)
        while found := self._all(_PAGE, (after, last, SCAN_ROWS)):
            # One by one: what a page holds decoded would fall out of the processor's cache.
            for position, state in found:
                yield decode(position, state)
            after = found[-1][0]

    def stretches(
        self, make: Callable[[Stretch], Result], *, after: int, upto: int
    ) -> Iterator[Result]:
        """Implement `Ledger.stretches`: the next one is on its way while something is made."""
        stretch, _ = self._stretch(after, upto, lambda: None)
        while stretch is not None:
            # Nothing is under way when this yields: who is slow would keep a snapshot open.
            stretch, made = self._stretch(stretch.last, upto, partial(make, stretch))
            yield made

    async def as_of(self, instant: datetime) -> int:
        """Implement `Ledger.as_of`."""
        last, beyond = 0, await self._durable.refresh() + 1
        async with self._connections.borrow() as connection:
            while last + 1 < beyond:
                middle = (last + beyond) // 2
                found = await (await connection.execute(_RECORDED_AT, (middle,))).fetchone()
                if found is not None and found[0] <= instant:
                    last = middle
                else:
                    beyond = middle
        return last

    async def positions_of(self, references: Collection[str]) -> Mapping[str, int]:
        """Implement `Ledger.positions_of`."""
        if not references:
            return {}
        streams, versions = zip(*map(stream_and_version, references), strict=True)
        asked = text_array(streams), int_array(versions)
        async with self._connections.borrow() as connection:
            return dict(await (await connection.execute(_POSITIONS, asked)).fetchall())

    def rows(self) -> Iterator[Row]:
        """Implement `Evidence.rows`."""
        for row, _ in self._rows():
            yield row

    def rows_by_stream(self) -> Iterator[Row]:
        """Implement `Evidence.rows_by_stream`."""
        after, last = ("", 0), self._durable.refresh_plain()
        while found := self._all(_ROWS_BY_STREAM, (*after, last, SCAN_ROWS)):
            yield from map(Row._make, found)
            after = found[-1][1], found[-1][2]

    def position_of(self, stream: str, version: int) -> int | None:
        """Implement `Evidence.position_of`."""
        found = self._all(_POSITION, (stream, version))
        return found[0][0] if found else None

    def settled(self, command_id: str) -> Settled | None:
        """Implement `Evidence.settled`."""
        found = self._all(_SETTLED, {"id": command_id})
        return Settled(*found[0]) if found else None

    def last_settled(self) -> int:
        """Implement `Evidence.last_settled`."""
        last: int = self._all("SELECT coalesce(max(last), 0) FROM commands", ())[0][0]
        return last

    def verify(self) -> Iterator[Finding]:
        """Yield everything that does not hold together; nothing at all for a sound log."""
        try:
            yield from verify(self)
            yield from self._wrong_instants()
        except psycopg.Error as error:
            yield Finding(0, "", f"the database is damaged: {error}")

    async def with_events(self, appended: Appended) -> Appended:
        """Return the answer to a known command with the events that it came to."""
        return replace(appended, events=await self._between(appended.first, appended.last))

    async def _between(self, first: int, last: int) -> tuple[Recorded, ...]:
        return tuple(await self._events(_PAGE, (first - 1, last, _NO_END)))

    def _stretch(
        self, after: int, upto: int, meanwhile: Callable[[], Result]
    ) -> tuple[Stretch | None, Result]:
        """Ask for the stretch above a position, if there is one, and do something meanwhile."""
        if after >= upto:
            return None, meanwhile()
        with self._connections.borrow_plain() as connection:
            if connection not in self._prepared:
                connection.execute(_PREPARE)
                self._prepared.add(connection)
            rows = min(upto, after + STRETCH_ROWS)
            values = [int8(value) for value in (after, rows, STRETCH_BYTES)]
            wire = connection.pgconn
            wire.send_query_prepared(_NAME, values, [Format.BINARY] * 3, Format.BINARY)
            connection.wait(send(wire))
            result = meanwhile()
            (found,) = connection.wait(fetch_many(wire))
            if found.status != ExecStatus.TUPLES_OK:
                raise error_from_result(found)
        return _stretch(after, found), result

    def _ask(self) -> None:
        questions, self._questions = self._questions, []
        task = asyncio.create_task(self._answer(questions))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, questions: Sequence[_Question]) -> None:
        try:
            if len(questions) == 1:
                ((stream, after, _),) = questions
                rows = await self._ask_for(b"stream", (stream.encode(), int8(after)))
                answers = [await self._durable_ones(rows)]
            else:
                answers = await self._streams(questions)
        except Exception as error:  # noqa: BLE001 - whatever it was, callers wait for an answer
            for question in questions:
                if not question.answer.done():
                    question.answer.set_exception(error)
            return
        for question, answer in zip(questions, answers, strict=True):
            if not question.answer.done():
                question.answer.set_result(answer)

    async def _streams(self, questions: Sequence[_Question]) -> list[list[Recorded]]:
        asked = (
            text_array(question.stream for question in questions),
            int_array([question.after for question in questions]),
        )
        rows = await self._ask_for(b"streams", asked)
        answers = [list[Recorded]() for _ in questions]
        for row, event in zip(rows, await self._durable_ones(rows), strict=True):
            answers[read_int(row[2]) - 1].append(event)
        return answers

    async def _durable_ones(self, rows: Sequence[Answered]) -> list[Recorded]:
        """Return the events of rows that begin with position and state, once they are durable."""
        events = [decode(read_int(row[0]), row[1]) for row in rows]
        if events:
            newest = max(events, key=_position)
            await self._durable.assure(newest.position)
            self._durable.saw((newest,))
        return events

    async def _events(self, query: LiteralString, values: tuple[Any, ...]) -> list[Recorded]:
        async with self._connections.borrow() as connection:
            cursor = await connection.execute(query, values, binary=True)
            found = await cursor.fetchall()
        if found:
            await self._durable.assure(max(found[0][0], found[-1][0]))
        events = [decode(position, state) for position, state in found]
        self._durable.saw(events)
        return events

    def _wrong_instants(self) -> Iterator[Finding]:
        for row, recorded_at in self._rows():
            try:
                header = decode(row.position, row.state).header
            except CorruptLogError:
                continue  # found by position
            if header.recorded_at != recorded_at:
                detail = f"the instant's column differs from the header's {header.recorded_at}"
                yield Finding(row.position, row.stream, detail)

    def _rows(self) -> Iterator[tuple[Row, datetime]]:
        after, last = 0, self._durable.refresh_plain()
        while found := self._all(_ROWS, (after, last, SCAN_ROWS)):
            yield from ((Row._make(row[:5]), row[5]) for row in found)
            after = found[-1][0]

    def _all(self, query: LiteralString, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        with self._connections.borrow_plain() as connection:
            return connection.execute(query, values, binary=True).fetchall()


def _position(event: Recorded) -> int:
    return event.position


def _stretch(after: int, found: PGresult) -> Stretch:
    count = found.ntuples
    if not count or read_int(found.get_value(count - 1, 0) or b"") != after + count:
        raise missing(after + 1)
    value = found.get_value
    return Stretch(after + 1, [value(row, 1) or b"" for row in range(count)])
