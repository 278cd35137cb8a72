"""Subjects and their keys on SQLite: the one place where names stand, and can be erased."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from .....domain.errors import NotFoundError
from ...keyring import Key, new_key
from ...people import Subject
from ..connections import Readers
from ..schema import micros
from ..writer import Changes

_BY_NAME = "SELECT id FROM subjects WHERE kind = ? AND name = ?"
_BY_ID = "SELECT id, kind, name FROM subjects WHERE id IN (SELECT value FROM json_each(?))"
_NEW = "INSERT INTO subjects (id, kind, name, created_at) VALUES (?, ?, ?, ?)"
_NEW_KEY = "INSERT INTO personal_keys (id, subject, secret, created_at) VALUES (?, ?, ?, ?)"
_SECRETS = """
SELECT id, secret FROM personal_keys WHERE id IN (SELECT value FROM json_each(?))
"""
_UNNAME = "UPDATE subjects SET name = NULL, erased_at = ? WHERE id = ? AND erased_at IS NULL"
_ERASURES = "SELECT count(*) FROM subjects WHERE erased_at IS NOT NULL"
_REVOKE = "UPDATE tokens SET revoked_at = ? WHERE subject = ? AND revoked_at IS NULL"


class SqliteDirectory:
    """Knows who is behind a subject id."""

    def __init__(self, readers: Readers, changes: Changes, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._changes = changes
        self._now = now

    async def find(self, kind: str, name: str) -> str | None:
        """Return the subject id of a name, or None."""
        with self._readers.borrow() as connection:
            return _named(connection, kind, name)

    async def ensure(self, kind: str, name: str) -> str:
        """Return the subject id of a name, a new one where there is none."""
        if known := await self.find(kind, name):
            return known
        row = (f"sub_{secrets.token_hex(12)}", kind, name, micros(self._now()))
        # With its key from the start: a request that is refused then has nothing to store.
        key = new_key()

        def add(connection: sqlite3.Connection) -> str:
            if known := _named(connection, kind, name):
                return known
            connection.execute(_NEW, row)
            connection.execute(_NEW_KEY, (key.id, row[0], key.secret, row[3]))
            return row[0]

        return await self._changes.change(add)

    async def resolve(self, ids: Collection[str]) -> Mapping[str, Subject]:
        """Return those of the ids that are known."""
        with self._readers.borrow() as connection:
            found = connection.execute(_BY_ID, (_list(ids),)).fetchall()
        return {row[0]: Subject(*row) for row in found}

    async def erasures(self) -> int:
        """Return how many subjects were erased so far."""
        with self._readers.borrow() as connection:
            count: int = connection.execute(_ERASURES).fetchone()[0]
        return count

    async def erase(self, subject_id: str) -> None:
        """Forget a subject's name and destroy its key; its tokens are revoked.

        What is deleted is overwritten, in the file and in its write-ahead log.
        Errors: NotFoundError.
        """
        now = micros(self._now())

        def forget(connection: sqlite3.Connection) -> None:
            known = connection.execute("SELECT 1 FROM subjects WHERE id = ?", (subject_id,))
            if known.fetchone() is None:
                raise NotFoundError(kind="subject")
            connection.execute("DELETE FROM personal_keys WHERE subject = ?", (subject_id,))
            connection.execute(_UNNAME, (now, subject_id))
            connection.execute(_REVOKE, (now, subject_id))

        await self._changes.change(forget, empties_log=True)


class SqliteKeys:
    """Implements `KeyTable`; a key is deleted by `SqliteDirectory.erase` alone."""

    def __init__(self, readers: Readers, changes: Changes, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._changes = changes
        self._now = now

    async def newest(self, subject: str) -> Key | None:
        """Implement `KeyTable.newest`."""
        with self._readers.borrow() as connection:
            return _key(connection, subject)

    async def secrets(self, key_ids: Collection[str]) -> Mapping[str, bytes]:
        """Implement `KeyTable.secrets`."""
        with self._readers.borrow() as connection:
            return dict(connection.execute(_SECRETS, (_list(key_ids),)).fetchall())

    async def keep(self, subject: str, key: Key) -> Key:
        """Implement `KeyTable.keep`. Errors: NotFoundError for a subject nobody knows."""
        row = (key.id, subject, key.secret, micros(self._now()))

        def add(connection: sqlite3.Connection) -> Key:
            if known := _key(connection, subject):
                return known
            try:
                connection.execute(_NEW_KEY, row)
            except sqlite3.IntegrityError as error:
                raise NotFoundError(kind="subject") from error
            return key

        return await self._changes.change(add)


def _list(values: Collection[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _named(connection: sqlite3.Connection, kind: str, name: str) -> str | None:
    found = connection.execute(_BY_NAME, (kind, name)).fetchone()
    return found[0] if found else None


def _key(connection: sqlite3.Connection, subject: str) -> Key | None:
    query = "SELECT id, secret FROM personal_keys WHERE subject = ?"
    found = connection.execute(query, (subject,)).fetchone()
    return Key(*found) if found else None
