"""The channel: the writer's own connection, spoken to in libpq's words.

An append is one prepared statement with every value in binary, and its barrier a second one in
the same round trip. The driver's cursors would cost several times as much as both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import Diagnostic

from .connections import Row, discard
from .durable import BARRIER

Values = Sequence[bytes | None]

APPEND = """
PREPARE append (
    timestamptz, text, boolean, text[], bigint[], text[], bytea[], text[], bigint[],
    text[], text[], bigint[], bigint[], text[], jsonb
) AS SELECT head, recorded_at, facts FROM append_events(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
)
"""
_BINARY = [pq.Format.BINARY] * 15


class Channel:
    """Carries one exchange at a time."""

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection
        self._wire = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._wire.socket
        self._answered: asyncio.Future[list[list[bytes | None]]] | None = None
        self._rows: list[list[bytes | None]] = []
        self._missing = 0
        self._warning: str | None = None
        self.is_broken = False
        """Whether the server has gone, or an answer was not what it should be."""
        connection.add_notice_handler(self._note_warning)
        self._wire.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    @classmethod
    async def open(cls, connection: AsyncConnection[Row]) -> Self:
        """Take over a connection."""
        await connection.execute(APPEND)
        await connection.execute(f"PREPARE barrier AS {BARRIER}")
        return cls(connection)

    async def append(self, values: Values, *, has_barrier: bool) -> list[bytes | None]:
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
        self._let_go()
        await discard(self._connection)

    def _send(self, statement: bytes, values: Values) -> None:
        formats = _BINARY[: len(values)]
        self._wire.send_query_prepared(statement, values, formats, pq.Format.BINARY)
        # Each is a transaction of its own, and says so by its own sync.
        self._wire.pipeline_sync()

    async def _answers(self, number: int) -> list[list[bytes | None]]:
        self._rows, self._missing, self._warning = [], number, None
        self._answered = answered = self._loop.create_future()
        self._flush()
        rows = await answered
        if self._warning is not None:
            # For instance: the wait for a standby was given up, and the commit is only local.
            raise psycopg.OperationalError(self._warning)
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
            while self._missing and not self._wire.is_busy():
                self._take(self._wire.get_result())
        except psycopg.Error as error:
            self._fail(error)
            return
        if self._missing == 0 and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._rows)

    def _take(self, result: pq.abc.PGresult | None) -> None:
        if result is None:
            return
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._missing -= 1
        elif result.status == pq.ExecStatus.TUPLES_OK:
            self._rows.append([result.get_value(0, n) for n in range(result.nfields)])
        else:
            raise psycopg.OperationalError(result.get_error_message())

    def _fail(self, error: psycopg.Error) -> None:
        self._let_go()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)

    def _let_go(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)

    def _note_warning(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary
