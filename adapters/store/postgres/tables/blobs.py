"""PostgresBlobs: the port `Blobs` on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .....domain.event import sha256_hex
from ..connections import Connections

_KEEP = "INSERT INTO blobs VALUES (%s, %b, %s) ON CONFLICT (digest) DO NOTHING"
_GET = "SELECT bytes FROM blobs WHERE digest = %s"


class PostgresBlobs:
    """Keeps bytes by their digest."""

    def __init__(self, connections: Connections, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._now = now

    async def put(self, content: bytes) -> str:
        """Implement `Blobs.put`."""
        digest = f"sha256:{sha256_hex(content)}"
        async with self._connections.borrow() as connection:
            await connection.execute(_KEEP, (digest, content, self._now()))
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Implement `Blobs.get`."""
        async with self._connections.borrow() as connection:
            cursor = await connection.execute(_GET, (digest,), binary=True)
            found = await cursor.fetchone()
        return found[0] if found else None
