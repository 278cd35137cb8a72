"""SqliteTokens: bearer tokens by their fingerprints; the token itself is nowhere."""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from .....domain.access import Actor, Role
from .....domain.errors import NotFoundError
from ...bearer import fingerprint, is_token, new_token
from ...people import USE_NOTED_EVERY, Token
from ..connections import Readers
from ..schema import instant, instant_or_none, micros
from ..writer import Changes

_FIND = """
SELECT sha256, id, subject, role, last_used_at FROM tokens
WHERE sha256 = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)
"""
_LIST = """
SELECT id, subject, role, created_at, expires_at, last_used_at FROM tokens
WHERE revoked_at IS NULL ORDER BY created_at, id
"""
_NEW = """
INSERT INTO tokens (id, sha256, subject, role, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_ANY = "SELECT 1 FROM tokens WHERE revoked_at IS NULL"
_REVOKE = "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
_USED = "UPDATE tokens SET last_used_at = ? WHERE id = ?"


class SqliteTokens:
    """Makes out tokens and knows them again."""

    def __init__(self, readers: Readers, changes: Changes, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._changes = changes
        self._now = now
        self._noted: dict[str, int] = {}

    async def create(
        self, subject: str, role: Role, expires_at: datetime | None = None
    ) -> tuple[str, Token]:
        """Store a new token; return its secret, this once, and its row.

        Errors: NotFoundError for a subject that the directory does not know.
        """
        secret = new_token()
        token = Token(f"tok_{secrets.token_hex(8)}", subject, role, self._now(), expires_at)
        await self._changes.change(lambda connection: _add(connection, secret, token))
        return secret, token

    async def create_first(self, subject: str, role: Role) -> str | None:
        """Store a token if there is none that is not revoked; return its secret, or None.

        Errors: as for `create`.
        """
        secret = new_token()
        token = Token(f"tok_{secrets.token_hex(8)}", subject, role, self._now())

        def add(connection: sqlite3.Connection) -> str | None:
            if connection.execute(_ANY).fetchone():
                return None
            _add(connection, secret, token)
            return secret

        return await self._changes.change(add)

    async def find(self, token: str) -> Actor | None:
        """Return whom a token was made out for; None if unknown, expired or revoked."""
        if not is_token(token):
            return None
        wanted, now = fingerprint(token), micros(self._now())
        with self._readers.borrow() as connection:
            found = connection.execute(_FIND, (wanted, now)).fetchone()
        if found is None or not hmac.compare_digest(found[0], wanted):
            return None
        _, token_id, subject, role, last_used_at = found
        self._note_use(token_id, last_used_at, now)
        return Actor(subject, Role(role))

    async def list(self) -> Sequence[Token]:
        """Return every token that is not revoked, the oldest first."""
        with self._readers.borrow() as connection:
            return [_token(row) for row in connection.execute(_LIST).fetchall()]

    async def revoke(self, token_id: str) -> bool:
        """Void a token; say whether there was one."""
        at = micros(self._now())

        def end(connection: sqlite3.Connection) -> bool:
            return connection.execute(_REVOKE, (at, token_id)).rowcount > 0

        return await self._changes.change(end)

    def _note_use(self, token_id: str, last_used_at: int | None, now: int) -> None:
        noted = self._noted.get(token_id, last_used_at)
        if noted is None or instant(now) - instant(noted) >= USE_NOTED_EVERY:
            self._noted[token_id] = now
            self._changes.change_later(
                lambda connection: connection.execute(_USED, (now, token_id))
            )


def _add(connection: sqlite3.Connection, secret: str, token: Token) -> None:
    ends = None if token.expires_at is None else micros(token.expires_at)
    made = micros(token.created_at)
    row = (token.id, fingerprint(secret), token.subject, token.role.value, made, ends)
    try:
        connection.execute(_NEW, row)
    except sqlite3.IntegrityError as error:
        raise NotFoundError(kind="subject") from error


def _token(row: Sequence[Any]) -> Token:
    token_id, subject, role, created_at, expires_at, last_used_at = row
    return Token(
        token_id,
        subject,
        Role(role),
        instant(created_at),
        instant_or_none(expires_at),
        instant_or_none(last_used_at),
    )
