"""The ledger and its read models, on the engine that the settings name."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from ...adapters.store.seen import FILE as SEEN
from ...adapters.store.sqlite.store import SqliteArchive, SqliteStore
from ...domain.errors import InvalidError
from ...domain.ports import Clock
from ...projections import READ_MODELS
from ...projections.follower import SqliteViews, Views
from ..settings import BadSettingError, Settings

if TYPE_CHECKING:
    from ...adapters.store.postgres.store import PostgresArchive, PostgresStore

Archive: TypeAlias = "SqliteArchive | PostgresArchive"
"""A ledger that is only read."""
Store: TypeAlias = "SqliteStore | PostgresStore"

VIEWS = "views.db"

_URL = re.compile(r"postgres(ql)?://([^@/?#]*@)?[^@/?#]*(/[^@/?#]*)?(\?[^@#]*)?")
"""A password with one of these in it would be taken for a host, and named where that fails."""


class DriverMissingError(InvalidError):
    """PostgreSQL needs its driver, which is not installed: pip install 'shipslog[postgres]'."""


@asynccontextmanager
async def opened(settings: Settings, clock: Clock) -> AsyncGenerator[Store]:
    """Open the ledger to be written.

    Errors: StoreLockedError, BrokenError; DriverMissingError, BadSettingError and
    StoreUnreachableError of PostgreSQL.
    """
    if settings.postgres is None:
        embedded = SqliteStore.open(settings.data, clock.now)
        try:
            yield embedded
        finally:
            embedded.close()
        return
    require_driver(settings.postgres)
    from ...adapters.store.postgres.store import PostgresStore, Terms

    lease = timedelta(seconds=settings.lease_seconds)
    terms = Terms(lease=lease, memory=settings.data / SEEN)
    shared = await PostgresStore.open(settings.postgres, clock.now, terms)
    try:
        yield shared
    finally:
        await shared.close()


@asynccontextmanager
async def archive(settings: Settings) -> AsyncGenerator[Archive]:
    """Open the ledger to be read only, also beside a server. Errors: as for `opened`."""
    if settings.postgres is None:
        embedded = SqliteStore.read_only(settings.data)
        try:
            yield embedded
        finally:
            embedded.close()
        return
    require_driver(settings.postgres)
    from ...adapters.store.postgres.store import PostgresStore

    shared = await PostgresStore.read_only(settings.postgres)
    try:
        yield shared
    finally:
        await shared.close()


@asynccontextmanager
async def views(settings: Settings) -> AsyncGenerator[Views]:
    """Give the read models' rows to be read only, also beside a server."""
    rows = new_views(settings)
    try:
        yield rows
    finally:
        await rows.aclose()
        rows.close()


def new_views(settings: Settings) -> Views:
    """Return the read models' rows, not yet opened. Errors: DriverMissingError, BadSettingError."""
    if settings.postgres is None:
        return SqliteViews(settings.data / VIEWS, READ_MODELS)
    require_driver(settings.postgres)
    from ...projections.follower.postgres import PostgresViews

    return PostgresViews(settings.postgres, READ_MODELS)


def place(settings: Settings) -> dict[str, str]:
    """Return where a ledger is, in words that show no password."""
    if settings.postgres is None:
        return {"data": str(settings.data)}
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(settings.postgres)
    shown = (f"{name}={parts[name]}" for name in ("host", "port", "dbname") if parts.get(name))
    return {"database": " ".join(shown)}


def require_driver(url: str) -> None:
    """Pass a database's URL that the driver can read; no part of it is ever repeated.

    Errors: DriverMissingError, BadSettingError.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise DriverMissingError from None
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        parts = {}
    ports = str(parts.get("port", "")).split(",")
    if not _URL.fullmatch(url) or not parts or not all(port.isdigit() for port in ports if port):
        expected = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, each part percent-encoded"
        raise BadSettingError(
            name="SHIPSLOG_DATABASE_URL", value="postgresql://…", expected=expected
        )
