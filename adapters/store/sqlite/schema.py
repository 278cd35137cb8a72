"""The tables of `ledger.db`, and the triggers by which the database itself refuses to forget.

Instants are microseconds since 1970, UTC. `stored_events` is the eventsourcing library's layout
with its position made explicit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from ..errors import NewerLedgerError

VERSION = 1
"""Stands in `user_version`; a file with a higher one was written by a newer build."""

ROWS_AT_ONCE = 128

TABLES = """
CREATE TABLE stored_events (
    position           INTEGER PRIMARY KEY,
    originator_id      TEXT    NOT NULL,
    originator_version INTEGER NOT NULL,
    topic              TEXT    NOT NULL,
    state              BLOB    NOT NULL,
    UNIQUE (originator_id, originator_version)
);

CREATE TABLE commands (
    number INTEGER PRIMARY KEY,
    id     TEXT    NOT NULL,
    sha256 TEXT    NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL
);

-- By the first digits of the id; complete up to the number that `meta` names as indexed.
CREATE TABLE command_index (
    digits TEXT    NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (digits, number)
) WITHOUT ROWID;

CREATE TABLE work (
    stream TEXT PRIMARY KEY,
    due_at INTEGER,
    owner  TEXT,
    token  INTEGER
) WITHOUT ROWID;

CREATE INDEX work_by_due ON work (due_at) WHERE owner IS NULL;

CREATE TABLE blobs (
    digest     TEXT    NOT NULL UNIQUE,
    bytes      BLOB    NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE subjects (
    id         TEXT    PRIMARY KEY,
    kind       TEXT    NOT NULL,
    name       TEXT,
    created_at INTEGER NOT NULL,
    erased_at  INTEGER,
    UNIQUE (kind, name)
) WITHOUT ROWID;

CREATE TABLE personal_keys (
    id         TEXT    PRIMARY KEY,
    subject    TEXT    NOT NULL UNIQUE REFERENCES subjects (id),
    secret     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    id           TEXT    PRIMARY KEY,
    sha256       BLOB    NOT NULL UNIQUE,
    subject      TEXT    NOT NULL REFERENCES subjects (id),
    role         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) WITHOUT ROWID;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO meta VALUES ('epoch', 0), ('indexed', 0);
"""

# BEFORE INSERT, because INSERT OR REPLACE deletes the old row without any DELETE trigger.
TRIGGERS = """
CREATE TRIGGER events_are_only_added BEFORE INSERT ON stored_events BEGIN
    SELECT RAISE(ABORT, 'an event gets the next position')
    WHERE NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM stored_events);
    SELECT RAISE(ABORT, 'an event gets the next version of its stream')
    WHERE NEW.originator_version IS NOT (
        SELECT coalesce(max(originator_version), 0) + 1
        FROM stored_events WHERE originator_id = NEW.originator_id
    );
END;

CREATE TRIGGER events_do_not_change BEFORE UPDATE ON stored_events BEGIN
    SELECT RAISE(ABORT, 'an event does not change');
END;

CREATE TRIGGER events_do_not_go BEFORE DELETE ON stored_events BEGIN
    SELECT RAISE(ABORT, 'an event does not go');
END;

CREATE TRIGGER commands_are_only_added BEFORE INSERT ON commands BEGIN
    SELECT RAISE(ABORT, 'a command gets the next number')
    WHERE NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM commands);
END;

CREATE TRIGGER commands_do_not_change BEFORE UPDATE ON commands BEGIN
    SELECT RAISE(ABORT, 'a command does not change');
END;

CREATE TRIGGER commands_do_not_go BEFORE DELETE ON commands BEGIN
    SELECT RAISE(ABORT, 'a command does not go');
END;

CREATE TRIGGER blobs_are_only_added BEFORE INSERT ON blobs BEGIN
    SELECT RAISE(ABORT, 'a blob is kept once')
    WHERE EXISTS (SELECT 1 FROM blobs WHERE digest = NEW.digest);
END;

CREATE TRIGGER blobs_do_not_change BEFORE UPDATE ON blobs BEGIN
    SELECT RAISE(ABORT, 'a blob does not change');
END;
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def create(connection: sqlite3.Connection) -> None:
    """Create the tables where there are none. Errors: NewerLedgerError."""
    if version_of(connection) == 0:
        script = f"BEGIN IMMEDIATE; {TABLES} {TRIGGERS} PRAGMA user_version = {VERSION}; COMMIT;"
        connection.executescript(script)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema's version, 0 where there is none. Errors: NewerLedgerError."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise NewerLedgerError(version=version, known=VERSION)
    return version


def insert(connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows with as few statements as they take."""
    for at in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[at : at + ROWS_AT_ONCE]
        values = [value for row in some for value in row]
        connection.execute(_insertion(table, len(some[0]), len(some)), values)


@cache
def _insertion(table: str, width: int, rows: int) -> str:
    row = f"({','.join('?' * width)})"
    return f"INSERT INTO {table} VALUES {','.join([row] * rows)}"  # noqa: S608 - our own names


def micros(at: datetime) -> int:
    """Return an aware instant as it is stored."""
    return (at - _EPOCH) // _MICROSECOND


def instant(stored: int) -> datetime:
    """Return a stored instant, UTC."""
    return _EPOCH + stored * _MICROSECOND


def instant_or_none(stored: int | None) -> datetime | None:
    """Return a stored instant, UTC, or None where there is none."""
    return None if stored is None else instant(stored)
