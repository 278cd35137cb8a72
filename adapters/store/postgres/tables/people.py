"""Subjects and their keys on PostgreSQL: the one place where names stand, and can be erased."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from psycopg.errors import ForeignKeyViolation

from .....domain.errors import NotFoundError
from ...keyring import Key, new_key
from ...people import Subject
from ..connections import Connections
from ..wire import text_array

_BY_NAME = "SELECT id FROM subjects WHERE kind = %s AND name = %s"
_BY_ID = "SELECT id, kind, name FROM subjects WHERE id = ANY (%b)"
_NEW = """
INSERT INTO subjects (id, kind, name, created_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (kind, name) DO NOTHING
"""
_IS_KNOWN = "SELECT FROM subjects WHERE id = %s FOR UPDATE"
_UNNAME = "UPDATE subjects SET name = NULL, erased_at = %s WHERE id = %s AND erased_at IS NULL"
_ERASURES = "SELECT count(*) FROM subjects WHERE erased_at IS NOT NULL"
_REVOKE = "UPDATE tokens SET revoked_at = %s WHERE subject = %s AND revoked_at IS NULL"
_FORGET_KEY = "DELETE FROM personal_keys WHERE subject = %s"
_KEY = "SELECT id, secret FROM personal_keys WHERE subject = %s"
_SECRETS = "SELECT id, secret FROM personal_keys WHERE id = ANY (%b)"
_NEW_KEY = """
INSERT INTO personal_keys VALUES (%s, %s, %s, %s) ON CONFLICT (subject) DO NOTHING
"""


class PostgresDirectory:
    """Knows who is behind a subject id."""

    def __init__(self, connections: Connections, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._now = now

    async def find(self, kind: str, name: str) -> str | None:
        """Return the subject id of a name, or None."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_BY_NAME, (kind, name))).fetchone()
        return found[0] if found else None

    async def ensure(self, kind: str, name: str) -> str:
        """Return the subject id of a name, a new one where there is none."""
        fresh = f"sub_{secrets.token_hex(12)}"
        now = self._now()
        # With its key from the start: a request that is refused then has nothing to store.
        key = new_key()
        async with self._connections.borrow() as connection:
            while True:
                found = await (await connection.execute(_BY_NAME, (kind, name))).fetchone()
                if found:
                    subject: str = found[0]
                    return subject
                async with connection.transaction():
                    added = await connection.execute(_NEW, (fresh, kind, name, now))
                    if added.rowcount:
                        await connection.execute(_NEW_KEY, (key.id, fresh, key.secret, now))

    async def resolve(self, ids: Collection[str]) -> Mapping[str, Subject]:
        """Return those of the ids that are known."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_BY_ID, (text_array(ids),))).fetchall()
        return {row[0]: Subject(*row) for row in found}

    async def erasures(self) -> int:
        """Return how many subjects were erased so far."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_ERASURES)).fetchone()
        return found[0] if found else 0

    async def erase(self, subject_id: str) -> None:
        """Forget a subject's name and destroy its key; its tokens are revoked.

        The server keeps the bytes until it vacuums the table and recycles its write-ahead log.
        Errors: NotFoundError.
        """
        now = self._now()
        async with self._connections.borrow() as connection, connection.transaction():
            if await (await connection.execute(_IS_KNOWN, (subject_id,))).fetchone() is None:
                raise NotFoundError(kind="subject")
            await connection.execute(_FORGET_KEY, (subject_id,))
            await connection.execute(_UNNAME, (now, subject_id))
            await connection.execute(_REVOKE, (now, subject_id))


class PostgresKeys:
    """Implements `KeyTable`; a key is deleted by `PostgresDirectory.erase` alone."""

    def __init__(self, connections: Connections, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._now = now

    async def newest(self, subject: str) -> Key | None:
        """Implement `KeyTable.newest`."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_KEY, (subject,))).fetchone()
        return Key(*found) if found else None

    async def secrets(self, key_ids: Collection[str]) -> Mapping[str, bytes]:
        """Implement `KeyTable.secrets`."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_SECRETS, (text_array(key_ids),))).fetchall()
        return dict(found)

    async def keep(self, subject: str, key: Key) -> Key:
        """Implement `KeyTable.keep`. Errors: NotFoundError for a subject nobody knows."""
        row = (key.id, subject, key.secret, self._now())
        async with self._connections.borrow() as connection:
            try:
                await connection.execute(_NEW_KEY, row)
            except ForeignKeyViolation as error:
                raise NotFoundError(kind="subject") from error
            found = await (await connection.execute(_KEY, (subject,))).fetchone()
        return Key(*found) if found else key
