"""PostgresTokens: bearer tokens by their fingerprints; the token itself is nowhere."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.errors import ForeignKeyViolation

from .....domain.access import Actor, Role
from .....domain.errors import NotFoundError
from ...bearer import fingerprint, is_token, new_token
from ...people import USE_NOTED_EVERY, Token
from ..connections import Connections, Row

_FIND = """
SELECT sha256, id, subject, role, last_used_at FROM tokens
WHERE sha256 = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)
"""
_LIST = """
SELECT id, subject, role, created_at, expires_at, last_used_at FROM tokens
WHERE revoked_at IS NULL ORDER BY created_at, id
"""
_NEW = """
INSERT INTO tokens (id, sha256, subject, role, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""
# Against every other way to make one out; a statement after it sees what was committed before.
_ALONE = "LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE"
_ANY = "SELECT FROM tokens WHERE revoked_at IS NULL LIMIT 1"
_REVOKE = "UPDATE tokens SET revoked_at = %s WHERE id = %s AND revoked_at IS NULL"
_USED = "UPDATE tokens SET last_used_at = %s WHERE id = %s"


class PostgresTokens:
    """Makes out tokens and knows them again."""

    def __init__(self, connections: Connections, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._now = now

    async def create(
        self, subject: str, role: Role, expires_at: datetime | None = None
    ) -> tuple[str, Token]:
        """Store a new token; return its secret, this once, and its row.

        Errors: NotFoundError for a subject that the directory does not know.
        """
        secret = new_token()
        token = Token(f"tok_{secrets.token_hex(8)}", subject, role, self._now(), expires_at)
        async with self._connections.borrow() as connection:
            await _add(connection, secret, token)
        return secret, token

    async def create_first(self, subject: str, role: Role) -> str | None:
        """Store a token if there is none that is not revoked; return its secret, or None.

        Of processes that ask at once one gets it. Errors: as for `create`.
        """
        secret = new_token()
        token = Token(f"tok_{secrets.token_hex(8)}", subject, role, self._now())
        async with self._connections.borrow() as connection, connection.transaction():
            await connection.execute(_ALONE)
            if (await connection.execute(_ANY)).rowcount:
                return None
            await _add(connection, secret, token)
        return secret

    async def find(self, token: str) -> Actor | None:
        """Return whom a token was made out for; None if unknown, expired or revoked."""
        if not is_token(token):
            return None
        wanted, now = fingerprint(token), self._now()
        async with self._connections.borrow() as connection:
            cursor = await connection.execute(_FIND, (wanted, now), binary=True)
            found = await cursor.fetchone()
            if found is None or not hmac.compare_digest(found[0], wanted):
                return None
            _, token_id, subject, role, last_used_at = found
            if last_used_at is None or now - last_used_at >= USE_NOTED_EVERY:
                await connection.execute(_USED, (now, token_id))
        return Actor(subject, Role(role))

    async def list(self) -> Sequence[Token]:
        """Return every token that is not revoked, the oldest first."""
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_LIST)).fetchall()
        return [Token(row[0], row[1], Role(row[2]), *row[3:]) for row in found]

    async def revoke(self, token_id: str) -> bool:
        """Void a token; say whether there was one."""
        async with self._connections.borrow() as connection:
            return (await connection.execute(_REVOKE, (self._now(), token_id))).rowcount > 0


async def _add(connection: AsyncConnection[Row], secret: str, token: Token) -> None:
    row = (token.id, fingerprint(secret), token.subject, token.role.value)
    try:
        await connection.execute(_NEW, (*row, token.created_at, token.expires_at))
    except ForeignKeyViolation as error:
        raise NotFoundError(kind="subject") from error
