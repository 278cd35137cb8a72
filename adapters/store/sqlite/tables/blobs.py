"""SqliteBlobs: the port `Blobs` on SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime

from .....domain.event import sha256_hex
from ..connections import Readers
from ..schema import micros
from ..writer import Changes


class SqliteBlobs:
    """Keeps bytes by their digest."""

    def __init__(self, readers: Readers, changes: Changes, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._changes = changes
        self._now = now

    async def put(self, content: bytes) -> str:
        """Implement `Blobs.put`."""
        digest = f"sha256:{sha256_hex(content)}"
        row = (digest, content, micros(self._now()))

        def keep(connection: sqlite3.Connection) -> None:
            known = connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,))
            if known.fetchone() is None:
                connection.execute("INSERT INTO blobs VALUES (?, ?, ?)", row)

        await self._changes.change(keep)
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Implement `Blobs.get`."""
        return await asyncio.to_thread(self._get, digest)

    def _get(self, digest: str) -> bytes | None:
        with self._readers.borrow() as connection:
            query = "SELECT bytes FROM blobs WHERE digest = ?"
            found = connection.execute(query, (digest,)).fetchone()
            return found[0] if found else None
