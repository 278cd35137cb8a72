"""PostgresBlobs: the port `Blobs` on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from .....domain.event import sha256_hex
from ..connections import Connections
from ..wire import text_array

# Not flushed for themselves: an event that names them is appended later, and its flush is theirs.
# In one order, so that no two processes wait for each other.
_KEEP = """
INSERT INTO blobs (digest, bytes, created_at)
SELECT digest, bytes, %s FROM unnest(%b, %b) AS kept (digest, bytes)
WHERE set_config('synchronous_commit', 'off', true) = 'off'
ORDER BY digest ON CONFLICT (digest) DO NOTHING
"""
_GET = "SELECT bytes FROM blobs WHERE digest = %s"


class PostgresBlobs:
    """Keeps bytes by their digest; what is put in one turn of the loop is stored together."""

    def __init__(self, connections: Connections, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._now = now
        self._gathering: dict[str, bytes] = {}
        self._keeping: asyncio.Task[None] | None = None
        """Stores what is being gathered; None where nothing is."""

    async def put(self, content: bytes) -> str:
        """Implement `Blobs.put`."""
        digest = f"sha256:{sha256_hex(content)}"
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        self._gathering[digest] = content
        # Whoever is cancelled leaves it to the others.
        await asyncio.shield(self._keeping)
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Implement `Blobs.get`."""
        async with self._connections.borrow() as connection:
            cursor = await connection.execute(_GET, (digest,), binary=True)
            found = await cursor.fetchone()
        return found[0] if found else None

    async def _keep(self) -> None:
        gathered, self._gathering, self._keeping = self._gathering, {}, None
        values = self._now(), text_array(gathered), list(gathered.values())
        async with self._connections.borrow() as connection:
            await connection.execute(_KEEP, values)
