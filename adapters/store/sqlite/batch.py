"""Batch: appends that share one transaction; each is checked for itself, all are stored at once.

The checks read the database once for the whole batch and then keep what the batch itself changes,
so a refused append leaves no trace and the rest goes in with one statement a table: each statement
gives up the interpreter's lock, and getting it back from a busy event loop is what costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from ....domain.append import Append, Appended, Lease, header_of
from ....domain.errors import ConflictError, FenceLostError, IdempotencyMismatchError
from ....domain.event import Recorded
from ..errors import CommandSettledError
from ..rows import Prepared, Settled, row_of
from .schema import insert, micros
from .settled import Settlements

_VERSIONS = """
SELECT json_group_object(value, coalesce(
    (SELECT max(originator_version) FROM stored_events WHERE originator_id = value), 0))
FROM json_each(?)
"""
_LEASES = """
SELECT stream, owner, token FROM work
WHERE owner IS NOT NULL AND stream IN (SELECT value FROM json_each(?))
"""
_FORGET = "DELETE FROM work WHERE stream IN (SELECT value FROM json_each(?))"
# An append can only bring a look forward; only an owner, who has looked, puts it off.
_LOOK_AGAIN = """
INSERT INTO work (stream, due_at)
SELECT key, value FROM json_each(?) WHERE true
ON CONFLICT (stream) DO UPDATE
SET due_at = min(coalesce(due_at, excluded.due_at), excluded.due_at)
"""


class Start(NamedTuple):
    """Where a batch begins: the newest position, the writer's present, and the store's epoch."""

    head: int
    at: datetime
    epoch: int


class Batch:
    """Adds appends one after the other, then writes those that it took."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        appends: Sequence[Append],
        settlements: Settlements,
        start: Start,
    ) -> None:
        self.head = start.head
        self.settled: dict[str, Settled] = {}
        """The commands of this batch."""
        self._start = start
        self._settlements = settlements
        self._known = settlements.known(connection, _commands(appends))
        self._versions = _versions(connection, appends)
        self._owners = _owners(connection, appends)
        self._rows: list[tuple[int, str, int, str, bytes]] = []
        self._due: dict[str, int] = {}
        self._forgotten: set[str] = set()

    def add(self, prepared: Prepared) -> Appended:
        """Take an append, or answer it as known.

        Errors: IdempotencyMismatchError, ConflictError, FenceLostError, EventTooLargeError.
        """
        append = prepared.append
        if known := self._answer(append):
            return known
        self._check_owner(append.lease)
        versions = self._checked_versions(append)
        events = self._recorded(prepared)
        rows = list(map(row_of, events))
        # Nothing is refused from here on.
        self._versions.update(versions)
        self._rows += rows
        return self._take(append, events)

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert everything that was taken."""
        insert(connection, "stored_events", self._rows)
        self._settlements.write(connection, self.settled)
        if self._forgotten:
            connection.execute(_FORGET, (_json(tuple(self._forgotten)),))
        if self._due:
            connection.execute(_LOOK_AGAIN, (_json(self._due),))

    def _answer(self, append: Append) -> Appended | None:
        for n, command in enumerate(append.commands):
            settled = self.settled.get(command.id) or self._known.get(command.id)
            if settled is None:
                continue
            if n:
                raise CommandSettledError(command=command.id)
            if settled.sha256 != command.sha256:
                raise IdempotencyMismatchError
            return Appended(settled.first, settled.last, known=True)
        return None

    def _check_owner(self, lease: Lease | None) -> None:
        if lease is None:
            return
        # What no stream has on lease, such as a restored target, is under the store's own token.
        owner = self._owners.get(lease.stream) if lease.stream else (lease.owner, lease.token)
        if lease.token != self._start.epoch or owner != (lease.owner, lease.token):
            raise FenceLostError(stream=lease.stream, token=lease.token)

    def _checked_versions(self, append: Append) -> Mapping[str, int]:
        for stream, version in append.expects.items():
            if self._versions[stream] != version:
                raise ConflictError(stream=stream)
        written: dict[str, int] = {}
        for draft in append.drafts:
            stream = draft.stream
            if draft.version != written.get(stream, self._versions[stream]) + 1:
                raise ConflictError(stream=stream)
            written[stream] = draft.version
        return written

    def _recorded(self, prepared: Prepared) -> tuple[Recorded, ...]:
        position, at = self.head, self._start.at
        events: list[Recorded] = []
        for draft, payload in zip(prepared.append.drafts, prepared.payloads, strict=True):
            position += 1
            events.append(Recorded(position, header_of(draft, payload, at), payload))
        return tuple(events)

    def _take(self, append: Append, events: tuple[Recorded, ...]) -> Appended:
        first, self.head = self.head + 1, self.head + len(events)
        for command in append.commands:
            self.settled[command.id] = Settled(command.sha256, first, self.head)
        for due in append.due:
            self._look_again(due.stream, None if due.at is None else micros(due.at))
        return Appended(first, self.head, events)

    def _look_again(self, stream: str, at: int | None) -> None:
        if at is None:
            self._due.pop(stream, None)
            self._owners.pop(stream, None)
            self._forgotten.add(stream)
        else:
            self._due[stream] = min(at, self._due.get(stream, at))


def _versions(connection: sqlite3.Connection, appends: Iterable[Append]) -> dict[str, int]:
    streams = {stream for append in appends for stream in _streams(append)}
    found: str = connection.execute(_VERSIONS, (_json(tuple(streams)),)).fetchone()[0]
    return msgspec.json.decode(found, type=dict[str, int])


def _streams(append: Append) -> Iterator[str]:
    yield from append.expects
    for draft in append.drafts:
        yield draft.stream


def _commands(appends: Iterable[Append]) -> set[str]:
    return {command.id for append in appends for command in append.commands}


def _owners(
    connection: sqlite3.Connection, appends: Iterable[Append]
) -> dict[str, tuple[str, int]]:
    streams = {append.lease.stream for append in appends if append.lease is not None}
    if not streams:
        return {}
    found = connection.execute(_LEASES, (_json(tuple(streams)),)).fetchall()
    return {stream: (owner, token) for stream, owner, token in found}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
