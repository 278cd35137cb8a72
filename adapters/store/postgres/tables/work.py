"""PostgresWork: the port `WorkQueue` on PostgreSQL.

A lease ends on the database's clock unless it is renewed; every claim has a higher token than
all claims before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from .....domain.append import Due, Lease
from ..channel import Questions
from ..connections import Connections
from ..line.meeting import NEXT_TOKEN
from ..wire import int8, int_array, interval, read_int, text_array, timestamp

# From here on `due_at` says what is asked for while somebody owns it. It is flushed: a token that
# a platform has heard of must not be handed out again after a crash.
_CLAIM = f"""
WITH free AS (
    SELECT stream, coalesce(due_at, expires_at) AS since FROM work
    WHERE stream NOT LIKE 'target:%' AND (
        (owner IS NULL AND due_at <= $1)
        OR (owner IS NOT NULL AND expires_at <= clock_timestamp())
    ) ORDER BY since, stream LIMIT $2 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE work SET owner = $3, token = {NEXT_TOKEN}, due_at = NULL,
        expires_at = clock_timestamp() + $4::interval
    FROM free WHERE work.stream = free.stream
    RETURNING free.since, work.stream, work.token
)
SELECT stream, token FROM taken ORDER BY since, stream
"""  # noqa: S608 - of constants
CLAIMS = {b"claim": _CLAIM.encode()}
_HOLD = f"""
INSERT INTO work (stream, owner, token, expires_at)
VALUES (%(stream)s, %(owner)s, {NEXT_TOKEN}, clock_timestamp() + %(lease)s)
ON CONFLICT (stream) DO UPDATE SET
    owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at
WHERE work.owner IS NULL OR work.expires_at <= clock_timestamp()
RETURNING token
"""  # noqa: S608 - of constants
_RENEW = """
WITH held AS (
    SELECT work.stream, asked.token FROM work
    JOIN unnest(%(streams)b, %(tokens)b) AS asked (stream, token)
        ON work.stream = asked.stream AND work.token = asked.token
    WHERE work.owner = %(owner)s AND expires_at > clock_timestamp()
    ORDER BY work.stream FOR NO KEY UPDATE OF work
)
UPDATE work SET expires_at = clock_timestamp() + %(lease)s
FROM held WHERE work.stream = held.stream RETURNING work.stream, work.owner, work.token
"""
_GIVE_BACK = """
UPDATE work SET owner = NULL, token = NULL, expires_at = NULL,
    due_at = least(due_at, %(due)s)
WHERE stream = %(stream)s AND owner = %(owner)s AND token = %(token)s
"""
_FORGET = """
DELETE FROM work WHERE stream = %(stream)s AND owner = %(owner)s AND token = %(token)s
"""


class PostgresWork:
    """Says which deployments are due, and who owns which until when."""

    def __init__(
        self,
        connections: Connections,
        now: Callable[[], datetime],
        lease: timedelta,
        questions: Questions,
    ) -> None:
        self._connections = connections
        self._now = now
        self._lease = lease
        self._questions = questions

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        """Implement `WorkQueue.claim`; what somebody is just writing about is passed over."""
        asked = timestamp(self._now()), int8(limit), owner.encode(), interval(self._lease)
        found = await self._questions.ask(b"claim", asked)
        return tuple(Lease(str(stream, "utf-8"), read_int(token), owner) for stream, token in found)

    async def hold(self, owner: str, stream: str) -> Lease | None:
        """Implement `WorkQueue.hold`."""
        asked = {"stream": stream, "owner": owner, "lease": self._lease}
        async with self._connections.borrow() as connection:
            found = await (await connection.execute(_HOLD, asked)).fetchone()
        return Lease(stream, found[0], owner) if found else None

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Implement `WorkQueue.renew`."""
        held: set[Lease] = set()
        for owner in {lease.owner for lease in leases}:
            own = [lease for lease in leases if lease.owner == owner]
            asked = {
                "streams": text_array([lease.stream for lease in own]),
                "tokens": int_array([lease.token for lease in own]),
                "owner": owner,
                "lease": self._lease,
            }
            async with self._connections.borrow() as connection:
                found = await (await connection.execute(_RENEW, asked)).fetchall()
            held |= {Lease(stream, token, owner) for stream, owner, token in found}
        return tuple(lease for lease in leases if lease in held)

    async def release(self, lease: Lease, due: Due | None) -> None:
        """Implement `WorkQueue.release`; what others asked for meanwhile is not put off."""
        held = {"stream": lease.stream, "owner": lease.owner, "token": lease.token}
        is_over = due is not None and due.at is None
        at = due.at if due is not None else self._now()
        query = _FORGET if is_over else _GIVE_BACK
        values = held if is_over else held | {"due": at}
        async with self._connections.borrow() as connection:
            await connection.execute(query, values)
