"""Connections of the views: one that writes, some that read, one that listens.

All act as the role of those who serve, which owns the schema of the views and can only add to the
ledger. A reader holds the table of progress for as long as it reads: who swaps the views waits
for it, and what it sees is all old or all new.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import AdaptedConnection, Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from .arrays import register

ROLE = "shipslog_app"
READERS = 8
"""How many reads are under way at once in one process."""
CONNECT_SECONDS = 5
IDLE_SECONDS = 3
"""A leader that says nothing for so long is taken to be stopped, and led no more."""

_SETTINGS = {
    "role": ROLE,
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
}
# Views are derived: what a crash of the server takes back is folded again.
_WRITING = {"synchronous_commit": "off", "statement_timeout": "0"}
_READING = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE progress IN ACCESS SHARE MODE"
)
_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "shipslog views",
    # A network that swallows everything is noticed.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 9_000,
}


def writer(url: str, schema: str) -> Engine:
    """Return an engine of one connection that writes."""

    def connect() -> psycopg.Connection[Any]:
        options = _options(schema, _WRITING)
        connection = psycopg.Connection.connect(url, **options, prepare_threshold=0)
        register(connection)
        return connection

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        use_native_hstore=False,
    )
    event.listen(engine, "begin", _begin)
    return engine


def readers(url: str, schema: str) -> Engine:
    """Return an engine whose connections read, for threads."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.Connection.connect(url, **_options(schema, {}), prepare_threshold=0)

    engine = create_engine(
        "postgresql+psycopg://", creator=connect, poolclass=QueuePool, use_native_hstore=False
    )
    event.listen(engine, "begin", _begin_reading)
    return engine


def async_readers(url: str, schema: str) -> AsyncEngine:
    """Return an engine whose connections read, for the event loop."""

    async def connect() -> psycopg.AsyncConnection[Any]:
        options = _options(schema, {})
        return await psycopg.AsyncConnection.connect(url, **options, prepare_threshold=0)

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=READERS,
        max_overflow=0,
        use_native_hstore=False,
    )
    event.listen(engine.sync_engine, "begin", _begin_reading)
    return engine


async def listener(url: str, schema: str) -> psycopg.AsyncConnection[Any]:
    """Return a connection of its own for who listens."""
    return await psycopg.AsyncConnection.connect(url, **_options(schema, {}))


def _options(schema: str, more: dict[str, str]) -> dict[str, Any]:
    settings = {**_SETTINGS, "search_path": schema, **more}
    return _OPTIONS | {
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items())
    }


@contextmanager
def begun(db: Connection) -> Generator[None]:
    """Be in a transaction of a connection that writes, whose BEGIN is said by the caller."""
    db.info[_SAID] = True
    with db.begin():
        yield


_SAID = "shipslog.begun"


def _begin(db: Connection) -> None:
    if not db.info.pop(_SAID, False):
        db.exec_driver_sql("BEGIN")


def _begin_reading(db: Connection) -> None:
    # Two statements in one round trip, which cannot be prepared.
    raw = db.connection.dbapi_connection
    if isinstance(raw, AdaptedConnection):
        raw.run_async(lambda connection: connection.execute(_READING, prepare=False))
    elif raw is not None:
        cast("psycopg.Connection[Any]", raw).execute(_READING, prepare=False)
