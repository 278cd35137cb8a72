"""How fast our read models catch up, on either engine, and how soon what is appended is visible."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import Recorded
from shipslog.domain.ports import Log
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, Projector, SqliteViews, Views
from shipslog.projections.follower.postgres import PostgresViews
from shipslog.projections.follower.source import Source
from tests.projections.follower.test_on_the_store import again

from ..generated_log import rows

PAUSE_SECONDS = 0.002
COPY = (
    "COPY shipslog.stored_events"
    " (position, originator_id, originator_version, topic, recorded_at, state) FROM STDIN"
)


def fill(url: str, events: int) -> int:
    """Write a log to a ledger's table and return its head."""
    head = 0
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        with cursor.copy(COPY) as copy:
            for head, stream, version, topic, state in rows(events):
                copy.write_row((head, stream, version, topic, "2030-01-01T00:00:00Z", state))
    return head


async def on_postgres(url: str) -> float:
    """Return how many events a second are folded, the views begun anew."""
    store = await PostgresStore.read_only(url)
    views = PostgresViews(url, READ_MODELS)
    views.clear()
    try:
        return await _caught_up(store.log, views)
    finally:
        await store.close()


async def on_sqlite(ledger: Path, views: Path) -> float:
    """Return how many events a second are folded into a new file."""
    return await _caught_up(SqliteReader(Readers(ledger)), SqliteViews(views, READ_MODELS))


async def _caught_up(log: Source, views: Views) -> float:
    projector = Projector(log, views)
    await projector.open()
    began = time.perf_counter()
    position = await projector.catch_up()
    seconds = time.perf_counter() - began
    await projector.close()
    return position / seconds


async def visible_on_postgres(url: str, events: Sequence[Recorded]) -> list[float]:
    """Return how many milliseconds each event took from the append's begin to its rows."""
    store = await PostgresStore.open(url)
    try:
        return await _visible(store.log, PostgresViews(url, READ_MODELS), events)
    finally:
        await store.close()


async def visible_on_sqlite(folder: Path, events: Sequence[Recorded]) -> list[float]:
    """Return the same of the embedded store."""
    store = SqliteStore.open(folder)
    try:
        return await _visible(store.log, SqliteViews(folder / "views.db", READ_MODELS), events)
    finally:
        store.close()


async def _visible(log: Log, views: Views, events: Sequence[Recorded]) -> list[float]:
    follower = Follower(log, views)
    await follower.open()
    following = asyncio.create_task(follower.run())
    taken: list[float] = []
    for event in events:
        began = time.perf_counter()
        appended = await log.append(again(event))
        await follower.reached(appended.last, 10)
        taken.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(PAUSE_SECONDS)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await follower.close()
    return taken
