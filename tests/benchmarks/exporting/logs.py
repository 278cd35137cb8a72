"""Logs of any size, on either engine, without an append for each event."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psycopg

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import decode

from ..generated_log import Row

INSERT = "INSERT INTO stored_events VALUES (?, ?, ?, ?, ?)"
COPY_IN = """
COPY stored_events (position, originator_id, originator_version, topic, recorded_at, state)
FROM STDIN (FORMAT binary)
"""
TYPES = ("int8", "text", "int8", "text", "timestamptz", "bytea")
OURS = "-c search_path=shipslog"


def fill_folder(data: Path, events: Iterable[Row]) -> None:
    """Make an embedded store of events."""
    SqliteStore.open(data).close()
    with closing(sqlite3.connect(data / "ledger.db")) as connection:
        connection.executemany(INSERT, events)
        connection.commit()


def fill_database(url: str, events: Iterable[Row]) -> None:
    """Copy events into a ledger that is empty."""
    with (
        psycopg.connect(url, options=OURS) as connection,
        connection.cursor() as cursor,
        cursor.copy(COPY_IN) as copying,
    ):
        copying.set_types(TYPES)
        for row in events:
            recorded_at = decode(row[0], row[4]).header.recorded_at
            copying.write_row((*row[:4], recorded_at, row[4]))
    with psycopg.connect(url, options=OURS, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE stored_events")
