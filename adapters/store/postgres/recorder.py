"""LedgerRecorder: the eventsourcing library's recorder over our table, for reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import Notification
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from .. import library

_NOTIFICATIONS = SQL("""
SELECT position, originator_id, originator_version, topic, state FROM shipslog.stored_events
WHERE position >= %s AND position <= %s AND (cardinality(%s::text[]) = 0 OR topic = ANY (%s))
ORDER BY position LIMIT %s
""")
_NEWEST = SQL("SELECT max(position) FROM shipslog.stored_events")


def environment(url: str) -> dict[str, str]:
    """Return the environment in which the library's plain `Application` reads a ledger."""
    where = conninfo_to_dict(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(where.get("dbname", "")),
        "POSTGRES_HOST": str(where.get("host", "")),
        "POSTGRES_PORT": str(where.get("port", "")),
        "POSTGRES_USER": str(where.get("user", "")),
        "POSTGRES_PASSWORD": str(where.get("password", "")),
        "POSTGRES_SCHEMA": "shipslog",
        **library.environment(LedgerRecorder),
    }


class LedgerRecorder(library.ReadingRecorder, PostgresApplicationRecorder):
    """Reads our table as the library does."""

    def __init__(
        self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events"
    ) -> None:
        # The library would look for a table named after the application.
        del events_table_name
        super().__init__(datastore, events_table_name="stored_events")

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events by position, which the library calls `notification_id`."""
        first, last = library.positions(start, stop, inclusive_of_start=inclusive_of_start)
        wanted = list(topics)
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(_NOTIFICATIONS, (first, last, wanted, wanted, limit), prepare=True)
            return [Notification(**row) for row in _renamed(cursor.fetchall())]

    def max_notification_id(self) -> int | None:
        """Return the newest position, None for an empty log."""
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute(_NEWEST)
            found = cursor.fetchone()
        return found["max"] if found else None


def _renamed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": row.pop("position"), **row, "state": bytes(row["state"])} for row in rows]
