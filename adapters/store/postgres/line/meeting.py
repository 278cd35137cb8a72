"""Meeting a database: each new connection is asked where it has led to, before it is used.

A promotion begins a new timeline, so an old primary that still lives has a lower one than was
seen. A log that has lost its tail, or another log, has not the events that were seen.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg import AsyncConnection, Connection

from .....domain.errors import CorruptLogError, EndingError
from .....domain.event import decode
from ...errors import LogRolledBackError, OldPrimaryError, StandbyError
from ...seen import Marks, Seen

Row = tuple[Any, ...]
Question = tuple[LiteralString, tuple[Any, ...]]
T = TypeVar("T")
Asking = Generator[Question, list[Row], T]

TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint"
TOKEN_BITS = 40
FIRST_TOKEN = f"(({TIMELINE} - 1) << 40)"
"""Above all tokens of earlier timelines: a sequence can go back where its database does."""
NEXT_TOKEN = f"({FIRST_TOKEN} + nextval('lease_tokens'))"

_WHERE = f"""
SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()),
    CASE WHEN pg_is_in_recovery() THEN 0 ELSE {TIMELINE} END,
    to_regclass('shipslog.stored_events') IS NOT NULL
"""  # noqa: S608 - of constants
_STATES = "SELECT position, state FROM shipslog.stored_events WHERE position = ANY (%s)"
_HEAD = "SELECT coalesce(max(position), 0) FROM shipslog.stored_events"
# In the order in which everybody locks these rows.
_VOID = f"""
WITH old AS (
    SELECT stream FROM shipslog.work WHERE owner IS NOT NULL AND token < {FIRST_TOKEN}
    ORDER BY stream FOR NO KEY UPDATE
)
UPDATE shipslog.work SET expires_at = clock_timestamp()
FROM old WHERE work.stream = old.stream AND expires_at > clock_timestamp()
"""  # noqa: S608 - of constants


class Line:
    """The line of history that a process is on, and what it has seen of it."""

    def __init__(self, seen: Seen | None = None) -> None:
        self._seen = seen or Seen()
        self.marks = Marks(self._seen.marks)
        self.broken: EndingError | None = None
        """Why nothing of what this process has in memory may be relied on any more, or None."""

    @property
    def seen(self) -> Seen:
        """What is to be kept."""
        return msgspec.structs.replace(self._seen, marks=self.marks.all())

    def learn(self, seen: Seen) -> bool:
        """Take over what others of this host have seen; say whether the line is another."""
        if seen.accepted != self._seen.accepted:
            self.broken = LogRolledBackError(
                "An operator has accepted another log; this process has to be started again."
            )
        is_newer = seen.system == self._seen.system and seen.timeline > self._seen.timeline
        if is_newer:
            self._seen = msgspec.structs.replace(self._seen, timeline=seen.timeline)
        return is_newer or self.broken is not None

    async def meet(self, connection: AsyncConnection[Row]) -> bool:
        """Pass a connection that may be used; say whether another line begins with it.

        Errors: StandbyError, OldPrimaryError, LogRolledBackError.
        """
        asking = self._meet()
        try:
            question = next(asking)
            while True:
                cursor = await connection.execute(*question, prepare=False, binary=True)
                question = asking.send(await cursor.fetchall() if cursor.description else [])
        except StopIteration as end:
            return bool(end.value)

    def meet_plain(self, connection: Connection[Row]) -> None:
        """Pass a connection of a thread, which changes nothing. Errors: as for `meet`."""
        asking = self._look()
        with suppress(StopIteration):
            question = next(asking)
            while True:
                cursor = connection.execute(*question, prepare=False, binary=True)
                question = asking.send(cursor.fetchall())

    def _meet(self) -> Asking[bool]:
        try:
            system, timeline, is_ledger = yield from self._look()
        except LogRolledBackError as error:
            self.broken = error
            raise
        is_another = bool(self._seen.system) and self._is_another(system, timeline)
        if is_another and is_ledger:
            yield _VOID, ()
        # Another connection may have met a newer line meanwhile.
        self._require_newest(system, timeline)
        begins = is_another and self._is_another(system, timeline)
        self._seen = msgspec.structs.replace(self._seen, system=system, timeline=timeline)
        return begins

    def _look(self) -> Asking[tuple[int, int, bool]]:
        ((is_standby, system, timeline, is_ledger),) = yield _WHERE, ()
        if is_standby:
            raise StandbyError
        self._require_newest(system, timeline)
        if is_ledger:
            yield from self._compare()
        return system, timeline, is_ledger

    def _require_newest(self, system: int, timeline: int) -> None:
        if self.broken is not None:
            raise self.broken
        if system == self._seen.system and timeline < self._seen.timeline:
            raise OldPrimaryError(timeline=timeline, known=self._seen.timeline)

    def _is_another(self, system: int, timeline: int) -> bool:
        return (system, timeline) != (self._seen.system, self._seen.timeline)

    def _compare(self) -> Asking[None]:
        """Compare the newest that was seen, and where it differs find out since where."""
        newest = self.marks.newest
        if newest is None or _agree((yield _STATES, ([newest.position],)), newest):
            return
        marks = self.marks.all()
        rows = yield _STATES, ([mark.position for mark in marks],)
        kept = max((mark.position for mark in marks if _agree(rows, mark)), default=0)
        ((head,),) = yield _HEAD, ()
        raise LogRolledBackError(first=kept + 1, last=newest.position, head=head)


def _agree(rows: list[Row], mark: tuple[int, str]) -> bool:
    for position, state in rows:
        try:
            if mark == (position, decode(position, state).header.payload_sha256):
                return True
        except CorruptLogError:
            continue
    return False
