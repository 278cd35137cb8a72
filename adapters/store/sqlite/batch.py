"""What a batch rests on, read from `ledger.db`, and what it took, written there.

One statement a table: each statement gives up the interpreter's lock, and getting it back from a
busy event loop is what costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from ....domain.append import Append
from ..batch import Batch, Facts, Start, streams_of
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


def facts_for(
    connection: sqlite3.Connection,
    appends: Sequence[Append],
    settlements: Settlements,
    start: Start,
) -> Facts:
    """Return what is known of everything that the appends name."""
    commands = {command.id for append in appends for command in append.commands}
    known = settlements.known(connection, commands)
    return Facts(start, _versions(connection, appends), known, _owners(connection, appends))


def write(connection: sqlite3.Connection, batch: Batch, settlements: Settlements) -> None:
    """Insert everything that a batch took."""
    insert(connection, "stored_events", batch.rows)
    settlements.write(connection, batch.settled)
    if batch.forgotten:
        connection.execute(_FORGET, (_json(tuple(batch.forgotten)),))
    if batch.due:
        due = {stream: micros(at) for stream, at in batch.due.items()}
        connection.execute(_LOOK_AGAIN, (_json(due),))


def _versions(connection: sqlite3.Connection, appends: Iterable[Append]) -> dict[str, int]:
    streams = {stream for append in appends for stream in streams_of(append)}
    found: str = connection.execute(_VERSIONS, (_json(tuple(streams)),)).fetchone()[0]
    return msgspec.json.decode(found, type=dict[str, int])


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
