"""The channel: a connection that is spoken to in libpq's words, and who asks by one.

An append is one prepared statement with every value in binary, and so is whatever a worker asks
for again and again. The driver's cursors would cost several times as much.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import Diagnostic, error_from_result

from ..errors import StoreUnreachableError
from .connections import Connections, discard, is_lost
from .connections import Row as Found
from .durable import BARRIER

Values = Sequence[bytes | None]
Row = list[Any]
"""Bytes, None for what is null."""
Done = Callable[[list[Row] | None, psycopg.Error | None], None]
"""Told the rows of an answer, or why there are none."""

APPENDING = {
    b"append": b"""
        CALL append_events(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
            $18, $19, $20, $21, $22, $23, $24, $25, $26,
            NULL, NULL, NULL)""",
    b"barrier": BARRIER.encode(),
}
_BINARY = [pq.Format.BINARY] * 26


class _Exchange:
    """What was sent, who waits for the answer, and what of it is here."""

    __slots__ = ("done", "error", "rows", "warning")

    def __init__(self, done: Done) -> None:
        self.done = done
        self.rows: list[Row] | None = None
        self.error: psycopg.Error | None = None
        self.warning: str | None = None


class Channel:
    """Carries any number of exchanges, answered in the order in which they were sent."""

    def __init__(self, connection: AsyncConnection[Found]) -> None:
        self._connection = connection
        self._wire = connection.pgconn
        self.loop = asyncio.get_running_loop()
        self._socket = self._wire.socket
        self._under_way: deque[_Exchange] = deque()
        self._unasked = select.poll()
        self._unasked.register(self._socket, select.POLLIN | select.POLLRDHUP)
        self._is_sending = False
        self.is_broken = False
        """Whether the server has gone, or an answer was not what it should be."""
        connection.add_notice_handler(self._note_warning)
        self._wire.enter_pipeline_mode()
        self.loop.add_reader(self._socket, self._read)

    @classmethod
    async def open(
        cls, connection: AsyncConnection[Found], statements: Mapping[bytes, bytes]
    ) -> Self:
        """Take over a connection for statements that have a name."""
        channel = cls(connection)
        try:
            await channel._prepare(statements)
        except BaseException as error:
            channel._let_go()
            if isinstance(error, psycopg.Error):
                raise psycopg.OperationalError(str(error)) from error
            raise
        return channel

    @property
    def is_usable(self) -> bool:
        """Whether something can be sent: on an idle one, what comes unasked is a farewell."""
        if self.is_broken or self.loop is not asyncio.get_running_loop():
            return False
        return bool(self._under_way) or not self._unasked.poll(0)

    def append(self, values: Values, done: Done, *, is_early: bool) -> None:
        """Send an append; an early one is committed first and then made durable."""
        self.send(b"append", (b"\1" if is_early else b"\0", *values), done)

    def barrier(self, done: Done) -> None:
        """Have everything flushed that is committed so far."""
        self.send(b"barrier", (), done)

    def send(self, statement: bytes, values: Values, done: Done) -> None:
        """Send a statement by its name, as a transaction of its own."""
        self._under_way.append(_Exchange(done))
        try:
            formats = _BINARY[: len(values)]
            self._wire.send_query_prepared(statement, values, formats, pq.Format.BINARY)
            # Each is a transaction of its own, and says so by its own sync.
            self._wire.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self._fail(error)

    async def close(self) -> None:
        """Close the connection, whatever is under way on it."""
        self._fail(psycopg.OperationalError("the connection was closed"))
        await discard(self._connection)

    async def _prepare(self, statements: Mapping[bytes, bytes]) -> None:
        prepared: asyncio.Future[list[Row]] = self.loop.create_future()
        self._under_way.append(_Exchange(partial(_tell, prepared)))
        for name, statement in statements.items():
            self._wire.send_prepare(name, statement)
        self._wire.pipeline_sync()
        self._flush()
        await prepared

    def _flush(self) -> None:
        try:
            is_sending = bool(self._wire.flush())
        except psycopg.Error as error:
            self._fail(error)
            return
        if is_sending and not self._is_sending:
            self.loop.add_writer(self._socket, self._flush)
        elif self._is_sending and not is_sending:
            self.loop.remove_writer(self._socket)
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
            exchange.done(exchange.rows, exchange.error)
        elif result.status == pq.ExecStatus.TUPLES_OK:
            columns = range(result.nfields)
            value = result.get_value
            exchange.rows = [[value(row, n) for n in columns] for row in range(result.ntuples)]
        elif result.status != pq.ExecStatus.COMMAND_OK:
            exchange.error = error_from_result(result)

    def _fail(self, error: psycopg.Error) -> None:
        self._let_go()
        while self._under_way:
            self._under_way.popleft().done(None, error)

    def _let_go(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)

    def _note_warning(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING" and self._under_way:
            self._under_way[0].warning = notice.message_primary


class Questions:
    """Asks by a channel of its own, which is opened with the first question.

    What is asked for at once is on its way at once, and answered in its order.
    """

    def __init__(self, connections: Connections, statements: Mapping[bytes, bytes]) -> None:
        self._connections = connections
        self._statements = statements
        self._channel: Channel | None = None
        self._opening: asyncio.Task[Channel] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        connections.when_left(self._leave)

    async def ask(self, statement: bytes, values: Values) -> list[Row]:
        """Return the rows of a statement. Errors: StoreUnreachableError, psycopg.Error."""
        channel = self._channel
        if channel is None or not channel.is_usable:
            channel = await self._opened()
        answer: asyncio.Future[list[Row]] = channel.loop.create_future()
        channel.send(statement, values, partial(_tell, answer))
        try:
            return await answer
        except psycopg.Error as error:
            if is_lost(error):
                raise StoreUnreachableError(detail=str(error)) from error
            raise

    async def close(self) -> None:
        """Close the channel; what is asked then has no answer."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._leave()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _opened(self) -> Channel:
        if self._opening is None or self._opening.get_loop() is not asyncio.get_running_loop():
            self._leave()
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_fetch)
        # Whoever is cancelled leaves it to the others.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Channel:
        try:
            async with self._connections.handing_over() as connection:
                era = self._connections.era
                channel = await Channel.open(connection, self._statements)
            if era == self._connections.era:
                self._channel = channel
            else:
                self._abandon(channel)
            return channel
        finally:
            self._opening = None

    def _leave(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._abandon(channel)

    def _abandon(self, channel: Channel) -> None:
        closing = asyncio.create_task(channel.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _fetch(opening: asyncio.Task[Channel]) -> None:
    # Whoever waited for it may have been cancelled.
    if not opening.cancelled():
        opening.exception()


def _tell(
    answer: asyncio.Future[list[Row]], rows: list[Row] | None, error: psycopg.Error | None
) -> None:
    if answer.done():
        return  # cancelled meanwhile
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(rows or [])
