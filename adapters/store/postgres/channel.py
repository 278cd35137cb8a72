"""The channel: the writer's own connection, spoken to in libpq's words.

An append is one prepared statement with every value in binary, and so is a barrier. The driver's
cursors would cost several times as much as both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import Diagnostic

from .connections import Row as Found
from .connections import discard
from .durable import BARRIER

Values = Sequence[bytes | None]
Row = list[bytes | None]
Done = Callable[[Row | None, psycopg.Error | None], None]
"""Told the row of an answer, None where nothing was stored for sure; or why nobody knows."""

_STATEMENTS = {
    b"append": b"""
        CALL append_events(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
            NULL, NULL, NULL)""",
    b"barrier": BARRIER.encode(),
}
_BINARY = [pq.Format.BINARY] * 18
_NOTHING_STORED = (b"23505", b"40P01")
"""What was unique is there already; who gave way for a circle of waiting to be broken."""
_SQLSTATE = pq.DiagnosticField.SQLSTATE


class _Exchange:
    """What was sent, who waits for the answer, and what of it is here."""

    __slots__ = ("done", "row", "warning")

    def __init__(self, done: Done) -> None:
        self.done = done
        self.row: Row | None = None
        self.warning: str | None = None


class Channel:
    """Carries any number of exchanges, answered in the order in which they were sent."""

    def __init__(self, connection: AsyncConnection[Found]) -> None:
        self._connection = connection
        self._wire = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._wire.socket
        self._under_way: deque[_Exchange] = deque()
        self._is_sending = False
        self.is_broken = False
        """Whether the server has gone, or an answer was not what it should be."""
        connection.add_notice_handler(self._note_warning)
        self._wire.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    @classmethod
    async def open(cls, connection: AsyncConnection[Found]) -> Self:
        """Take over a connection."""
        channel = cls(connection)
        await channel._prepare()
        return channel

    def append(self, values: Values, done: Done, *, is_early: bool) -> None:
        """Send an append; an early one is committed first and then made durable."""
        self._send(b"append", (b"\1" if is_early else b"\0", *values), done)

    def barrier(self, done: Done) -> None:
        """Have everything flushed that is committed so far."""
        self._send(b"barrier", (), done)

    async def close(self) -> None:
        """Close the connection, whatever is under way on it."""
        self._fail(psycopg.OperationalError("the connection was closed"))
        await discard(self._connection)

    async def _prepare(self) -> None:
        prepared: asyncio.Future[None] = self._loop.create_future()

        def done(_: Row | None, error: psycopg.Error | None) -> None:
            if not prepared.done():
                prepared.set_exception(error) if error else prepared.set_result(None)

        self._under_way.append(_Exchange(done))
        for name, statement in _STATEMENTS.items():
            self._wire.send_prepare(name, statement)
        self._wire.pipeline_sync()
        self._flush()
        await prepared

    def _send(self, statement: bytes, values: Values, done: Done) -> None:
        self._under_way.append(_Exchange(done))
        try:
            formats = _BINARY[: len(values)]
            self._wire.send_query_prepared(statement, values, formats, pq.Format.BINARY)
            # Each is a transaction of its own, and says so by its own sync.
            self._wire.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self._fail(error)

    def _flush(self) -> None:
        try:
            is_sending = bool(self._wire.flush())
        except psycopg.Error as error:
            self._fail(error)
            return
        if is_sending and not self._is_sending:
            self._loop.add_writer(self._socket, self._flush)
        elif self._is_sending and not is_sending:
            self._loop.remove_writer(self._socket)
        self._is_sending = is_sending

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
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._under_way.popleft()
            if exchange.warning is not None:
                # For instance: the wait for a standby was given up, and the commit is only local.
                error = psycopg.OperationalError(exchange.warning)
                exchange.done(None, error)
                raise error
            exchange.done(exchange.row, None)
        elif result.status == pq.ExecStatus.TUPLES_OK:
            exchange.row = [result.get_value(0, n) for n in range(result.nfields)]
        elif result.status != pq.ExecStatus.COMMAND_OK and not _was_taken_back(result):
            raise psycopg.OperationalError(result.get_error_message())

    def _fail(self, error: psycopg.Error) -> None:
        self._let_go()
        while self._under_way:
            self._under_way.popleft().done(None, error)

    def _let_go(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    def _note_warning(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING" and self._under_way:
            self._under_way[0].warning = notice.message_primary


def _was_taken_back(result: pq.abc.PGresult) -> bool:
    return result.error_field(_SQLSTATE) in _NOTHING_STORED
