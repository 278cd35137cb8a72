"""PostgresBlobs: the port `Blobs` on PostgreSQL; what is small is stored by the next append."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

import psycopg

from .....domain.errors import LedgerError
from .....domain.event import sha256_hex
from ..connections import Connections
from ..wire import text_array

SMALL_BYTES = 16 * 1024
"""What is larger is stored at once, so that no append has to wait for it."""
WAITING_BYTES = 1024 * 1024
"""Of all that waits for an append together."""
ALONE_SECONDS = 0.2
"""After so long without an append, what waits is stored by itself."""

# Not flushed for themselves: an event that names them is appended later, and its flush is theirs.
# In one order, so that no two processes wait for each other.
_KEEP = """
INSERT INTO blobs (digest, bytes, created_at)
SELECT digest, bytes, %s FROM unnest(%b, %b) AS kept (digest, bytes)
WHERE set_config('synchronous_commit', 'off', true) = 'off'
ORDER BY digest ON CONFLICT (digest) DO NOTHING
"""
_GET = "SELECT bytes FROM blobs WHERE digest = %s"


class Outputs:
    """Blobs that wait for an append, which stores them in its own transaction.

    Until the database has said that they are stored, every append takes them along: also the one
    that is sent while another with them is under way, and may yet be taken back.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._size = 0

    def add(self, digest: str, content: bytes) -> bool:
        """Have a blob wait, unless it is large or much is waiting; say whether it does."""
        if digest in self._waiting:
            return True
        if len(content) > SMALL_BYTES or self._size + len(content) > WAITING_BYTES:
            return False
        self._waiting[digest] = content
        self._size += len(content)
        return True

    def get(self, digest: str) -> bytes | None:
        """Return a blob that waits."""
        return self._waiting.get(digest)

    def waiting(self) -> Mapping[str, bytes]:
        """Return what waits now."""
        return dict(self._waiting)

    def stored(self, outputs: Mapping[str, bytes]) -> None:
        """Note what is stored."""
        for digest in outputs:
            self._size -= len(self._waiting.pop(digest, b""))


class PostgresBlobs:
    """Keeps bytes by their digest; what is put in one turn of the loop is stored together."""

    def __init__(
        self, connections: Connections, now: Callable[[], datetime], outputs: Outputs
    ) -> None:
        self._connections = connections
        self._now = now
        self._outputs = outputs
        self._gathering: dict[str, bytes] = {}
        self._keeping: asyncio.Task[None] | None = None
        """Stores what is being gathered; None where nothing is."""
        self._look: asyncio.TimerHandle | None = None
        self._storing: asyncio.Task[None] | None = None

    async def put(self, content: bytes) -> str:
        """Implement `Blobs.put`."""
        digest = f"sha256:{sha256_hex(content)}"
        if self._outputs.add(digest, content):
            if self._look is None:
                loop = asyncio.get_running_loop()
                self._look = loop.call_later(ALONE_SECONDS, self._look_for_rest)
            return digest
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        self._gathering[digest] = content
        # Whoever is cancelled leaves it to the others.
        await asyncio.shield(self._keeping)
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Implement `Blobs.get`."""
        if (waiting := self._outputs.get(digest)) is not None:
            return waiting
        async with self._connections.borrow() as connection:
            cursor = await connection.execute(_GET, (digest,), binary=True)
            found = await cursor.fetchone()
        return found[0] if found else None

    async def close(self) -> None:
        """Store what waits for an append that does not come any more."""
        if self._look is not None:
            self._look.cancel()
        if self._storing is not None:
            await asyncio.wait([self._storing])
        await self._store_rest()

    def _look_for_rest(self) -> None:
        self._look = None
        self._storing = asyncio.create_task(self._store_rest())

    async def _store_rest(self) -> None:
        rest = self._outputs.waiting()
        if not rest:
            return
        # No event names them yet: where it fails they wait on, for the next append or look.
        with suppress(psycopg.Error, LedgerError):
            await self._store(rest)
            self._outputs.stored(rest)

    async def _keep(self) -> None:
        gathered, self._gathering, self._keeping = self._gathering, {}, None
        await self._store(gathered)

    async def _store(self, blobs: Mapping[str, bytes]) -> None:
        values = self._now(), text_array(blobs), list(blobs.values())
        async with self._connections.borrow() as connection:
            await connection.execute(_KEEP, values)
