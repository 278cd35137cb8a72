"""The channel: the writer's own connection, spoken to in libpq's words.

An append is one prepared statement with every value in binary, and its barrier a second one in
the same round trip. The driver's cursors would cost several times as much as both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Self

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import Diagnostic

from .connections import Row as Found
from .connections import discard
from .durable import BARRIER

Values = Sequence[bytes | None]
Row = list[bytes | None]

APPEND = """
PREPARE append (
    timestamptz, text, boolean, boolean, text[], bigint[], text[], bytea[], text[], bigint[],
    bytea[], bytea[], bigint[], bigint[], bytea[], jsonb
) AS SELECT head, recorded_at, facts FROM append_events(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16
)
"""
_BINARY = [pq.Format.BINARY] * 16


class _Exchange:
    """What was sent, and what of its answer is here."""

    __slots__ = ("answered", "missing", "rows", "warning")

    def __init__(self, number: int, answered: asyncio.Future[list[Row]]) -> None:
        self.missing = number
        self.answered = answered
        self.rows: list[Row] = []
        self.warning: str | None = None


class Channel:
    """Carries any number of exchanges, answered in the order in which they were sent."""

    def __init__(self, connection: AsyncConnection[Found]) -> None:
        self._connection = connection
        self._wire = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._wire.socket
        self._under_way: deque[_Exchange] = deque()
        self.is_broken = False
        """Whether the server has gone, or an answer was not what it should be."""
        connection.add_notice_handler(self._note_warning)
        self._wire.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    @classmethod
    async def open(cls, connection: AsyncConnection[Found]) -> Self:
        """Take over a connection."""
        await connection.execute(APPEND)
        await connection.execute(f"PREPARE barrier AS {BARRIER}")
        return cls(connection)

    async def append(self, values: Values, *, has_barrier: bool) -> Row:
        """Send an append and, behind its commit, a barrier; return its row.

        Errors: psycopg.Error, after which the channel is to be closed.
        """
        self._send(b"append", values)
        if has_barrier:
            self._send(b"barrier", ())
        return (await self._answers(1 + has_barrier))[0]

    async def barrier(self) -> None:
        """Return once everything committed so far is flushed. Errors: psycopg.Error."""
        self._send(b"barrier", ())
        await self._answers(1)

    async def close(self) -> None:
        """Close the connection, whatever is under way on it."""
        self._fail(psycopg.OperationalError("the connection was closed"))
        await discard(self._connection)

    def _send(self, statement: bytes, values: Values) -> None:
        formats = _BINARY[: len(values)]
        self._wire.send_query_prepared(statement, values, formats, pq.Format.BINARY)
        # Each is a transaction of its own, and says so by its own sync.
        self._wire.pipeline_sync()

    async def _answers(self, number: int) -> list[Row]:
        exchange = _Exchange(number, self._loop.create_future())
        self._under_way.append(exchange)
        self._flush()
        rows = await exchange.answered
        if exchange.warning is not None:
            # For instance: the wait for a standby was given up, and the commit is only local.
            raise psycopg.OperationalError(exchange.warning)
        return rows

    def _flush(self) -> None:
        try:
            if self._wire.flush():
                self._loop.add_writer(self._socket, self._flush)
            else:
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._fail(error)

    def _read(self) -> None:
        try:
            self._wire.consume_input()
            while self._under_way and not self._wire.is_busy():
                self._take(self._under_way[0], self._wire.get_result())
        except psycopg.Error as error:
            self._fail(error)

    def _take(self, exchange: _Exchange, result: pq.abc.PGresult | None) -> None:
        if result is None:
            return
        if result.status == pq.ExecStatus.TUPLES_OK:
            exchange.rows.append([result.get_value(0, n) for n in range(result.nfields)])
        elif result.status != pq.ExecStatus.PIPELINE_SYNC:
            raise psycopg.OperationalError(result.get_error_message())
        else:
            exchange.missing -= 1
            if not exchange.missing:
                self._under_way.popleft()
                if not exchange.answered.done():
                    exchange.answered.set_result(exchange.rows)

    def _fail(self, error: psycopg.Error) -> None:
        self._let_go()
        while self._under_way:
            answered = self._under_way.popleft().answered
            if not answered.done():
                answered.set_exception(error)

    def _let_go(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    def _note_warning(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING" and self._under_way:
            self._under_way[0].warning = notice.message_primary
