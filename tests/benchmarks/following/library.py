"""The peer: read models as the eventsourcing library keeps them, a transaction for each event.

It keeps less than we do, the status document and one row an event, by statements written by hand,
with the same fold. On PostgreSQL the library's own `ProjectionRunner` follows our log; it cannot
follow one on SQLite, so there the events are handed to it, read already.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import msgspec
import psycopg
from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder

from shipslog.adapters.store.postgres.recorder import environment
from shipslog.domain.event import Recorded
from shipslog.projections import deployments
from shipslog.projections.follower import micros

SECONDS = 600.0
TABLES = (
    "CREATE TABLE {0}status (id text PRIMARY KEY, document text)",
    """CREATE TABLE {0}trail (position bigint PRIMARY KEY, recorded_at bigint, actor text,
    topic text, stream text, environment text, service text, deployment text)""",
)
LOAD = "SELECT document FROM {0}status WHERE id = {1}"
STORE = (
    "INSERT INTO {0}status VALUES ({1}, {1})"
    " ON CONFLICT (id) DO UPDATE SET document = excluded.document"
)
ADD = "INSERT INTO {0}trail VALUES ({1}, {1}, {1}, {1}, {1}, {1}, {1}, {1})"

_DOCUMENTS = msgspec.json.Decoder(deployments.StatusDocument)


class Cursor(Protocol):
    """A cursor of either driver, as far as it matters here."""

    def execute(self, statement: str, values: Sequence[object] = (), /) -> object: ...
    def fetchone(self) -> Any: ...  # noqa: ANN401 - a row of the library's


class Keeping:
    """Stores what one event changes, by a cursor of the library's transaction."""

    def __init__(self, schema: str, mark: str) -> None:
        self._load, self._store, self._add = (
            statement.format(schema, mark) for statement in (LOAD, STORE, ADD)
        )

    def keep(self, cursor: Cursor, recorded: Recorded) -> None:
        """Fold an event into the document and add its row."""
        header = recorded.header
        if header.stream.startswith("deployment:"):
            document = None
            if header.stream_version > 1:
                cursor.execute(self._load, (header.stream,))
                document = _DOCUMENTS.decode(cursor.fetchone()["document"])
            document = deployments.apply(document, recorded)
            text = msgspec.json.encode(document).decode()
            cursor.execute(self._store, (header.stream, text))
        row = (recorded.position, micros(header.recorded_at), header.actor, header.topic)
        place = (header.stream, header.environment, header.service, header.deployment)
        cursor.execute(self._add, (*row, *place))


class PostgresKeeping(PostgresTrackingRecorder):
    """The rows on PostgreSQL."""

    _keeping: ClassVar[Keeping] = Keeping("peer.", "%s")

    def keep(self, recorded: Recorded, tracking: Tracking) -> None:
        """Store rows and position in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            self._keeping.keep(cast("Cursor", cursor), recorded)


class LibraryProjection(Projection[PostgresKeeping]):
    """Hands each event to the rows."""

    name = "peer"

    @singledispatchmethod
    def process_event(self, domain_event: object, tracking: Tracking) -> None:
        """Implement `Projection.process_event`."""
        recorded = cast("Recorded", domain_event)
        self.view.keep(
            Recorded(tracking.notification_id, recorded.header, recorded.payload), tracking
        )


def on_postgres(url: str, head: int) -> float:
    """Return how many events a second the library's runner catches up."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS peer CASCADE")
        connection.execute("CREATE SCHEMA peer")
        for table in TABLES:
            connection.execute(table.format("peer.").encode())
    env = environment(url) | {"PEER_POSTGRES_SCHEMA": "peer", "PEER_CREATE_TABLE": "yes"}
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=Application[str],
        projection_class=LibraryProjection,
        view_class=PostgresKeeping,
        env=env,
    ) as runner:
        runner.wait(head, timeout=SECONDS)
        return head / (time.perf_counter() - began)


class SqliteKeeping(SQLiteTrackingRecorder):
    """The rows on SQLite."""

    _keeping: ClassVar[Keeping] = Keeping("", "?")

    def keep(self, recorded: Recorded, tracking: Tracking) -> None:
        """Store rows and position in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            self._keeping.keep(cast("Cursor", cursor), recorded)


def on_sqlite(path: Path, events: Sequence[Recorded]) -> float:
    """Return how many events a second are stored as the library stores them."""
    recorder = SqliteKeeping(SQLiteDatastore(str(path)))
    recorder.create_table()
    with recorder.datastore.transaction(commit=True) as cursor:
        for table in TABLES:
            cursor.execute(table.format(""))
    began = time.perf_counter()
    for recorded in events:
        recorder.keep(recorded, Tracking("peer", recorded.position))
    seconds = time.perf_counter() - began
    recorder.datastore.close()
    return len(events) / seconds
