"""News: how other processes hear that the log has grown.

A notification is a hint, and a look each second the truth. Not every append carries one, because
each wakes every process that listens, and the server lets one at a time commit.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress

import psycopg
from psycopg import AsyncConnection

from ....domain.errors import LedgerError
from .connections import Connections, Row, discard
from .durable import DurableHead

CHANNEL = "shipslog"
QUIET_SECONDS = 0.01
"""For so long after it has told, a process tells nothing."""
POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.2

_NOTIFY = "SELECT pg_notify('shipslog', ''), set_config('synchronous_commit', 'off', true)"


class News:
    """Says with which append others are told, and tells them of the last ones of a burst."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._quiet_until = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def are_due(self) -> bool:
        """Say whether an append is to carry the news; if not, they are told a little later."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            if self._later is not None:
                self._later.cancel()
                self._later = None
            return True
        if self._later is None:
            # By then another append has most likely done so, and this is called off.
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(2 * QUIET_SECONDS, self._begin_to_tell)
        return False

    async def close(self) -> None:
        """Tell what is left to tell."""
        if self._later is not None:
            self._later.cancel()
            self._begin_to_tell()
        if self._telling:
            await asyncio.wait(self._telling)

    def _begin_to_tell(self) -> None:
        self._later = None
        telling = asyncio.create_task(self._tell())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        # Who does not hear of it looks for himself within a second.
        with suppress(psycopg.Error, LedgerError):
            async with self._connections.borrow() as connection:
                await connection.execute(_NOTIFY)


class Listener:
    """Follows the head of the database for those who wait for it; begins with the first of them."""

    def __init__(self, connections: Connections, head: DurableHead) -> None:
        self._connections = connections
        self._head = head
        self._following: asyncio.Task[None] | None = None

    async def beyond(self, position: int, timeout: float) -> int:
        """Return the head as soon as it is above `position`, or after `timeout` seconds."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        return await self._head.beyond(position, timeout)

    async def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        while True:
            with suppress(psycopg.Error, LedgerError):
                await self._listen()
            with suppress(psycopg.Error, LedgerError):
                await self._head.refresh()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await self._connections.connect()
        try:
            # Listening comes before looking, or a move between the two would be missed.
            await connection.execute(f"LISTEN {CHANNEL}")
            era = self._connections.era
            while era == self._connections.era:
                await self._head.refresh()
                await self._hear(connection)
        finally:
            await discard(connection)

    async def _hear(self, connection: AsyncConnection[Row]) -> None:
        """Return when another process has told of something, or when it is time to look."""
        async with aclosing(connection.notifies(timeout=POLL_SECONDS)) as heard:
            async for news in heard:
                # What this process has written it knows as soon as it is durable.
                if news.pid != self._head.writes_by:
                    return
