"""News: how other processes hear that the log has grown.

A notification is a hint, and a look each second the truth. It is sent beside the append and not
in it, because the server lets only one transaction with a notification commit at a time; and not
for every append, because each wakes every process that listens.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg

from ....domain.errors import LedgerError
from .connections import Connections, discard
from .durable import DurableHead

CHANNEL = "shipslog"
QUIET_SECONDS = 0.01
"""News that come closer together than this are told at once, at its end."""
POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.2

_NOTIFY = "SELECT pg_notify('shipslog', ''), set_config('synchronous_commit', 'off', true)"


class News:
    """Tells other processes, a few times a second at most hundred."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._is_due = False
        self._sending: asyncio.Task[None] | None = None

    def send(self) -> None:
        """Let it be known that the log has grown."""
        self._is_due = True
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Tell what is left to tell."""
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        while self._is_due:
            self._is_due = False
            # Who does not hear of it looks for himself within a second.
            with suppress(psycopg.Error, LedgerError):
                async with self._connections.borrow() as connection:
                    await connection.execute(_NOTIFY)
            await asyncio.sleep(QUIET_SECONDS)
        self._sending = None


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
            while True:
                await self._head.refresh()
                async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass
        finally:
            await discard(connection)
