"""LedgerRecorder: the eventsourcing library's recorder over `ledger.db`, for reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventsourcing.persistence import Notification
from eventsourcing.sqlite import SQLiteApplicationRecorder

from .. import library

_NOTIFICATIONS = """
SELECT position, originator_id, originator_version, topic, state FROM stored_events
WHERE position >= ? AND position <= ?
"""


def environment(path: Path) -> dict[str, str]:
    """Return the environment in which the library's plain `Application` reads a ledger.

    Read-only, because a second connection that writes or checkpoints is not safe.
    """
    return {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": f"{path.absolute().as_uri()}?mode=ro",
        **library.environment(LedgerRecorder),
    }


class LedgerRecorder(library.ReadingRecorder, SQLiteApplicationRecorder):
    """Reads our table as the library does."""

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events by position, as the library's own recorder does by its hidden rowid."""
        query = _NOTIFICATIONS
        values: list[int | str] = [
            *library.positions(start, stop, inclusive_of_start=inclusive_of_start)
        ]
        if topics:
            query += f"AND topic IN ({','.join('?' * len(topics))}) "
            values += topics
        query += "ORDER BY position LIMIT ?"
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(query, [*values, limit])
            return [
                Notification(
                    id=row[0],
                    originator_id=row[1],
                    originator_version=row[2],
                    topic=row[3],
                    state=row[4],
                )
                for row in cursor.fetchall()
            ]
