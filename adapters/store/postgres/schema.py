"""Making a database into a ledger, and finding out whether it is one that lasts."""

from __future__ import annotations

from collections.abc import Mapping
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
from .connections import CONNECT_SECONDS, ROLE, Connections, Row

VERSION = 3
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

_TRIGGERS = {
    "stored_events": {"events_are_only_added", "events_neither_change_nor_go"},
    "commands": {"commands_neither_change_nor_go"},
    "blobs": {"blobs_do_not_change"},
}
_FIRING = """
SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled IN ('O', 'A')
"""
_MAY = "SELECT has_table_privilege(%s, %s, %s)"
_FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
_FACTS = """
SELECT coalesce((SELECT max(position) FROM stored_events), 0),
    (SELECT count(*) FROM work WHERE owner IS NOT NULL AND expires_at > clock_timestamp()),
    (SELECT count(DISTINCT owner) FROM work
        WHERE owner IS NOT NULL AND expires_at > clock_timestamp()),
    (SELECT count(*) FROM work WHERE owner IS NULL AND due_at <= clock_timestamp()),
    pg_database_size(current_database()), current_setting('server_version')
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


async def check(url: str) -> list[str]:
    """Return what is wrong with how a ledger is kept; nothing where it refuses what it must.

    Errors: those of `require_ledger`, StoreUnreachableError.
    """
    async with _Checked(url) as connection:
        return [*await _silent(connection), *await _allowed(connection)]


async def facts(url: str) -> Mapping[str, int | str]:
    """Return figures of a ledger and its work. Errors: as for `check`."""
    async with _Checked(url) as connection:
        row = await (await connection.execute(_FACTS)).fetchone() or ()
    names = ("position", "owned", "workers", "due", "bytes", "server")
    return {"version": VERSION, **dict(zip(names, row, strict=True))}


class _Checked:
    """A connection to a ledger that this build knows, for as long as it takes."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)

    async def __aenter__(self) -> AsyncConnection[Row]:
        """Connect. Errors: as for `check`."""
        connection = await self._connections.connect()
        self._connection = connection
        try:
            await require_ledger(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self._connection.close()
        if isinstance(error, psycopg.OperationalError):
            raise StoreUnreachableError(detail=str(error)) from error


async def _silent(connection: AsyncConnection[Row]) -> list[str]:
    missing: list[str] = []
    for table, expected in _TRIGGERS.items():
        cursor = await connection.execute(_FIRING, (f"shipslog.{table}",))
        firing = {row[0] for row in await cursor.fetchall()}
        missing += [f"the trigger {name} of {table} is off" for name in sorted(expected - firing)]
    return missing


async def _allowed(connection: AsyncConnection[Row]) -> list[str]:
    granted: list[str] = []
    for table in _TRIGGERS:
        for right in _FORBIDDEN:
            cursor = await connection.execute(_MAY, (ROLE, f"shipslog.{table}", right))
            row = await cursor.fetchone()
            if row and row[0]:
                granted.append(f"the role {ROLE} has {right} on {table}")
    return granted


def _first(row: Row | None) -> object:
    return row[0] if row else None
