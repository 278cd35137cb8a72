"""LedgerRecorder: the eventsourcing library's recorder over `ledger.db`, for reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eventsourcing.persistence import Notification, NotSupportedError, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder
from eventsourcing.utils import get_topic

from ..mapper import LedgerMapper

_NOTIFICATIONS = """
SELECT position, originator_id, originator_version, topic, state FROM stored_events
WHERE position >= ? AND position <= ?
"""
_NO_END = 2**63 - 1


def environment(path: Path) -> dict[str, str]:
    """Return the environment in which the library's plain `Application` reads a ledger.

    Read-only, because a second connection that writes or checkpoints is not safe.
    """
    return {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": f"{path.absolute().as_uri()}?mode=ro",
        "CREATE_TABLE": "no",
        "ORIGINATOR_ID_TYPE": "text",
        "MAPPER_TOPIC": get_topic(LedgerMapper),
        "APPLICATION_RECORDER_TOPIC": get_topic(LedgerRecorder),
    }


class LedgerRecorder(SQLiteApplicationRecorder):
    """Reads our table as the library does."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Refuse: the log is written by its one writer, through `Log.append`."""
        del stored_events, kwargs
        message = "the log is written through Log.append"
        raise NotSupportedError(message)

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
        first = 0 if start is None else start if inclusive_of_start else start + 1
        query = _NOTIFICATIONS
        values: list[int | str] = [first, _NO_END if stop is None else stop]
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
