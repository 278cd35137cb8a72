"""SqliteWork: the port `WorkQueue` on SQLite.

A lease lasts as long as its process has the store: it has no expiry, and its token is the store's
epoch, which rises with every opening.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

from .....domain.append import Due, Lease
from ..connections import Readers
from ..schema import micros
from ..writer import Changes

_EPOCH = "SELECT value FROM meta WHERE name = 'epoch'"

_DUE = """
SELECT stream FROM work WHERE owner IS NULL AND due_at <= ? AND stream NOT LIKE 'target:%'
ORDER BY due_at, stream LIMIT ?
"""
# From here on `due_at` says what is asked for while somebody owns it.
_TAKE = "UPDATE work SET owner = ?, token = ?, due_at = NULL WHERE stream = ?"
_HOLD = """
INSERT INTO work (stream, owner, token) VALUES (?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET owner = excluded.owner, token = excluded.token
WHERE owner IS NULL
"""
_HELD = "SELECT stream, owner, token FROM work WHERE owner IS NOT NULL"
_GIVE_BACK = """
UPDATE work SET owner = NULL, token = NULL,
    due_at = min(coalesce(due_at, :due), :due)
WHERE stream = :stream AND owner = :owner AND token = :token
"""
_FORGET = "DELETE FROM work WHERE stream = ? AND owner = ? AND token = ?"
_VOID = """
UPDATE work SET owner = NULL, token = NULL, due_at = min(coalesce(due_at, :now), :now)
WHERE owner IS NOT NULL
"""


class SqliteWork:
    """Says which deployments are due, and who owns which."""

    def __init__(self, readers: Readers, changes: Changes, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._changes = changes
        self._now = now

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        """Implement `WorkQueue.claim`."""
        due = (micros(self._now()), limit)
        with self._readers.borrow() as connection:
            if connection.execute(_DUE, due).fetchone() is None:
                return ()

        def take(connection: sqlite3.Connection) -> list[Lease]:
            epoch: int = connection.execute(_EPOCH).fetchone()[0]
            streams = [row[0] for row in connection.execute(_DUE, due).fetchall()]
            connection.executemany(_TAKE, [(owner, epoch, stream) for stream in streams])
            return [Lease(stream, epoch, owner) for stream in streams]

        return await self._changes.change(take)

    async def hold(self, owner: str, stream: str) -> Lease | None:
        """Implement `WorkQueue.hold`."""

        def take(connection: sqlite3.Connection) -> Lease | None:
            epoch: int = connection.execute(_EPOCH).fetchone()[0]
            taken = connection.execute(_HOLD, (stream, owner, epoch)).rowcount
            return Lease(stream, epoch, owner) if taken else None

        return await self._changes.change(take)

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Implement `WorkQueue.renew`: nothing has to be written for a lease to last."""
        with self._readers.borrow() as connection:
            held = set(connection.execute(_HELD).fetchall())
        return tuple(one for one in leases if (one.stream, one.owner, one.token) in held)

    async def release(self, lease: Lease, due: Due | None) -> None:
        """Implement `WorkQueue.release`; what others asked for meanwhile is not put off."""
        held = {"stream": lease.stream, "owner": lease.owner, "token": lease.token}
        if due is not None and due.at is None:
            await self._changes.change(lambda db: db.execute(_FORGET, tuple(held.values())))
            return
        at = due.at if due is not None and due.at is not None else self._now()
        values = {**held, "due": micros(at)}
        await self._changes.change(lambda db: db.execute(_GIVE_BACK, values))


def void_leases(connection: sqlite3.Connection, now: datetime) -> None:
    """Let everything be looked at now whose owner is gone with its process."""
    connection.execute("DELETE FROM work WHERE stream LIKE 'target:%'")
    connection.execute(_VOID, {"now": micros(now)})
