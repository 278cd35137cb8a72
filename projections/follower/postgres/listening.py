"""Listening: what the process that moves the views tells those that do not.

A notification is a hint, and a look at the position each second the truth.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from ..views import Moved
from .connecting import listener

_LARGEST = 7500
"""Bytes; PostgreSQL takes less than 8000."""


class Listening:
    """Hears of moves, on a connection that is made when somebody first asks."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._connection: AsyncConnection[Any] | None = None

    async def moved(self, timeout: float) -> Moved | None:
        """Return the next move that is heard of; None after a while, or for one that was not said.

        Errors: psycopg.OperationalError; the next call connects again.
        """
        try:
            if self._connection is None:
                self._connection = await listener(self._url, self._channel)
                await self._connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
                return None
            async for said in self._connection.notifies(timeout=timeout, stop_after=1):
                return _heard(said.payload)
        except psycopg.Error:
            await self.close()
            raise
        return None

    async def close(self) -> None:
        """Hear no more."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(psycopg.Error, OSError):
                await connection.close()


def announcement(channel: str, moved: Moved) -> tuple[str, str]:
    """Return the channel and the text by which a move is told."""
    payload = msgspec.json.encode(moved)
    if len(payload) > _LARGEST:
        payload = msgspec.json.encode(moved._replace(streams=None))
    return channel, payload.decode()


def _heard(payload: str) -> Moved | None:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(payload, type=Moved)
    return None
