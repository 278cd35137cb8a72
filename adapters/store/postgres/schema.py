"""Making a database into a ledger, and finding out whether it is one that lasts."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import AsyncConnection, Connection

from ..errors import (
    ForgetfulServerError,
    NewerLedgerError,
    NoLedgerError,
    StoreUnreachableError,
    UnusableLedgerError,
)
from .connections import CONNECT_SECONDS, Row

VERSION = 2
"""Stands in `meta`; a database with a higher one was made by a newer build."""

_FILES = tuple(Path(__file__).with_name(name) for name in ("schema.sql", "append.sql"))
_EXISTS = "SELECT to_regclass('shipslog.meta') IS NOT NULL"
_VERSION = "SELECT value FROM meta WHERE name = 'version'"
# Several processes may start at once over a new database.
_LOCK = "SELECT pg_advisory_xact_lock(7887012593)"
_DURABLE = """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
"""


def create(url: str) -> None:
    """Create the tables where there are none; the URL is the owner's.

    Errors: StoreUnreachableError, UnusableLedgerError.
    """
    try:
        with Connection[Row].connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute(_LOCK)
            if not _first(connection.execute(_EXISTS).fetchone()):
                for file in _FILES:
                    connection.execute(file.read_bytes())
    except psycopg.OperationalError as error:
        raise StoreUnreachableError(detail=str(error)) from error
    except psycopg.Error as error:
        raise UnusableLedgerError(path="in the database", detail=str(error)) from error


async def require_ledger(connection: AsyncConnection[Row]) -> None:
    """Pass a connection to a ledger that this build knows and that lasts through a power cut.

    Errors: NoLedgerError, NewerLedgerError, ForgetfulServerError, UnusableLedgerError.
    """
    try:
        if not _first(await (await connection.execute(_EXISTS)).fetchone()):
            raise NoLedgerError(data="the database; `shipslog db create` makes one")
        version = _first(await (await connection.execute(_VERSION)).fetchone())
        off = await (await connection.execute(_DURABLE)).fetchall()
    except psycopg.Error as error:
        raise UnusableLedgerError(path="in the database", detail=str(error)) from error
    if not isinstance(version, int) or version > VERSION:
        raise NewerLedgerError(version=version, known=VERSION)
    if version < VERSION:
        detail = "it was made before the first release, which cannot be brought up to date"
        raise UnusableLedgerError(path="in the database", detail=detail)
    if off:
        raise ForgetfulServerError(settings=", ".join(sorted(name for name, _ in off)))


def _first(row: Row | None) -> object:
    return row[0] if row else None
