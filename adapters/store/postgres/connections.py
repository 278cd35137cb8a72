"""Connections to the database: async ones for the event loop, plain ones for where it cannot wait.

Each is lent to one user at a time. One whose call failed or was cancelled is closed and never
lent again: nobody knows what is still under way on it. One that ended while nobody had it is not
lent either: a server that came back is asked as if it had never been away.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection, BaseConnection, Connection
from psycopg.errors import Diagnostic

from ..errors import ClosedLedgerError, StoreUnreachableError
from . import wire
from .line.meeting import Line

Row = tuple[Any, ...]

ROLE = "shipslog_app"
LENT_AT_ONCE = 8
CONNECT_SECONDS = 5
CLOSE_SECONDS = 5

_SETTINGS = {
    "role": ROLE,
    "search_path": "shipslog",
    "timezone": "UTC",
    "synchronous_commit": "on",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
    # Every look-up is by a key, also while no statistics say how large a table has become.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "shipslog",
    "options": " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
    # A network that swallows everything is noticed before a lease ends.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 9_000,
}


class Connections:
    """Lends connections to one database."""

    def __init__(self, url: str, line: Line | None = None) -> None:
        self._url = url
        self._line = line
        self._leavers: list[Callable[[], None]] = []
        self.era = 0
        """Rises whenever everything that is connected must be connected anew."""
        self._idle: list[AsyncConnection[Row]] = []
        self._idle_plain: list[Connection[Row]] = []
        self._free = asyncio.Semaphore(LENT_AT_ONCE)
        self._connecting: set[asyncio.Task[AsyncConnection[Row]]] = set()
        self._is_closed = False

    async def connect(self) -> AsyncConnection[Row]:
        """Return a new connection, the caller's own.

        Errors: StoreUnreachableError; those of `Line.meet` for a database not to be gone on with.
        """
        if self._is_closed:
            raise ClosedLedgerError
        connecting = asyncio.create_task(AsyncConnection[Row].connect(self._url, **_OPTIONS))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            connection = await asyncio.shield(connecting)
        except psycopg.Error as error:
            raise StoreUnreachableError(detail=str(error)) from error
        except asyncio.CancelledError:
            # Cancelled half-way it would stay open until it is garbage, and the server would
            # wait a minute for its password.
            connecting.add_done_callback(_close_unwanted)
            raise
        wire.register(connection)
        async with _closed_on_failure(connection):
            await self._meet(connection)
        return connection

    def when_left(self, leave: Callable[[], None]) -> None:
        """Have somebody told who keeps a connection when it is to be left."""
        self._leavers.append(leave)

    def leave(self) -> None:
        """Use none of the connections any more that there are now."""
        self.era += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.pgconn.finish()
        while self._idle_plain:
            self._idle_plain.pop().close()
        for leave in self._leavers:
            leave()

    async def _meet(self, connection: AsyncConnection[Row]) -> None:
        if self._line is None:
            return
        was_whole = self._line.broken is None
        begins = False
        try:
            begins = await self._line.meet(connection)
        finally:
            if begins or (was_whole and self._line.broken):
                self.leave()

    @asynccontextmanager
    async def handing_over(self) -> AsyncGenerator[AsyncConnection[Row]]:
        """Give a new connection to whom the body makes it ready for; it is closed if that fails.

        Errors: StoreUnreachableError, also where the server goes meanwhile.
        """
        connection = await self.connect()
        async with _closed_on_failure(connection):
            yield connection

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[AsyncConnection[Row]]:
        """Lend a connection on the event loop. Errors: StoreUnreachableError."""
        async with self._free:
            connection = await self._idle_or_new()
            era = self.era
            async with _closed_on_failure(connection):
                yield connection
            if self._is_closed or era != self.era:
                await connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def borrow_plain(self) -> Generator[Connection[Row]]:
        """Lend a connection to a thread that waits for it. Errors: StoreUnreachableError."""
        era = self.era
        connection = self._idle_plain_one() or self._connect_plain()
        try:
            yield connection
        except BaseException as error:
            connection.close()
            if is_lost(error):
                raise StoreUnreachableError(detail=str(error)) from error
            raise
        if self._is_closed or era != self.era:
            connection.close()
        else:
            self._idle_plain.append(connection)

    def close_plain(self) -> None:
        """Close the plain connections: those idle now, and those lent when they come back."""
        self._is_closed = True
        while self._idle_plain:
            self._idle_plain.pop().close()

    async def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self.close_plain()
        while self._idle:
            await discard(self._idle.pop())
        if self._connecting:
            await asyncio.wait(self._connecting)

    async def _idle_or_new(self) -> AsyncConnection[Row]:
        while self._idle:
            connection = self._idle.pop()
            if _is_quiet(connection):
                return connection
            await discard(connection)
        return await self.connect()

    def _idle_plain_one(self) -> Connection[Row] | None:
        # A list's pop and append are one step each, whatever thread calls them.
        with suppress(IndexError):
            while not _is_quiet(connection := self._idle_plain.pop()):
                connection.close()
            return connection
        return None

    def _connect_plain(self) -> Connection[Row]:
        if self._is_closed:
            raise ClosedLedgerError
        try:
            connection = Connection[Row].connect(self._url, **_OPTIONS)
        except psycopg.Error as error:
            raise StoreUnreachableError(detail=str(error)) from error
        wire.register(connection)
        if self._line is not None:
            try:
                self._line.meet_plain(connection)
            except BaseException:
                connection.close()
                raise
        return connection


def is_lost(error: BaseException) -> bool:
    """Say whether an error is about the connection or the server, and not about what was asked."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _is_quiet(connection: BaseConnection[Any]) -> bool:
    """Say whether nothing has come on an idle connection: what comes unasked is a farewell."""
    if connection.closed:
        return False
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
    return not look.poll(0)


def _close_unwanted(connecting: asyncio.Task[AsyncConnection[Row]]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().pgconn.finish()


@asynccontextmanager
async def _closed_on_failure(connection: AsyncConnection[Row]) -> AsyncGenerator[None]:
    warnings: list[str] = []
    note = partial(_note_warning, warnings)
    connection.add_notice_handler(note)
    try:
        yield
        _require_none(warnings)
    except BaseException as error:
        await discard(connection)
        if is_lost(error):
            raise StoreUnreachableError(detail=str(error)) from error
        raise
    finally:
        connection.remove_notice_handler(note)


def _require_none(warnings: list[str]) -> None:
    # For instance: the wait for a standby was given up, and the commit is only local.
    if warnings:
        raise psycopg.OperationalError(warnings[0])


def _note_warning(warnings: list[str], notice: Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        warnings.append(notice.message_primary or "")


async def discard(connection: AsyncConnection[Row]) -> None:
    """Close a connection, whatever state it is in."""
    with suppress(psycopg.Error, OSError):
        await asyncio.shield(connection.close())
