"""SqliteStore: everything that is kept in one data folder, opened and closed together."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from ....domain.errors import BrokenError
from ....domain.event import decode
from ..errors import NoLedgerError, UnusableLedgerError
from ..head import Head
from ..keyring import Keyring
from .connections import LEDGER, Readers, open_writer, take_lock
from .log import SqliteLog
from .reading import SqliteReader
from .schema import create, version_of
from .settled import Settlements
from .tables.blobs import SqliteBlobs
from .tables.people import SqliteDirectory, SqliteKeys
from .tables.tokens import SqliteTokens
from .tables.work import SqliteWork, void_leases
from .writer import NoWriter, Opened, Writer

Now = Callable[[], datetime]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEXT_EPOCH = "UPDATE meta SET value = value + 1 WHERE name = 'epoch'"
_NEWEST = "SELECT position, state FROM stored_events ORDER BY position DESC LIMIT 1"


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteArchive:
    """A ledger that is only read, also beside a running server: for replay, verify and export."""

    def __init__(self, readers: Readers, now: Now) -> None:
        nobody = NoWriter()
        self.log = SqliteReader(readers)
        self.blobs = SqliteBlobs(readers, nobody, now)
        self.directory = SqliteDirectory(readers, nobody, now)
        self.keyring = Keyring(SqliteKeys(readers, nobody, now))
        self._readers = readers

    def close(self) -> None:
        """Close every connection."""
        self._readers.close()


class SqliteStore:
    """A ledger held by this process alone; the ports are its attributes."""

    def __init__(self, data: Path, now: Now) -> None:
        with ExitStack() as opening:
            opening.callback(os.close, take_lock(data))
            connection = open_writer(data / LEDGER)
            opening.callback(connection.close)
            try:
                opened = _begin(connection, now())
            except sqlite3.Error as error:
                raise UnusableLedgerError(path=str(data / LEDGER), detail=str(error)) from error
            self._closing = opening.pop_all()
        self._writer = writer = Writer(opened, now)
        readers = Readers(data / LEDGER)
        # The writer goes after the readers, so that it can bring its write-ahead log in.
        self._closing.callback(writer.close)
        self._closing.callback(readers.close)
        self.log = SqliteLog(readers, writer, opened)
        self.work = SqliteWork(readers, writer, now)
        self.blobs = SqliteBlobs(readers, writer, now)
        self.directory = SqliteDirectory(readers, writer, now)
        self.keyring = Keyring(SqliteKeys(readers, writer, now))
        self.tokens = SqliteTokens(readers, writer, now)

    @classmethod
    def open(cls, data: Path, now: Now = _now) -> SqliteStore:
        """Open a data folder, made where there is none; leases of the time before are void.

        Errors: StoreLockedError; BrokenError for a file that cannot be used or would not last.
        """
        return cls(data, now)

    @staticmethod
    def read_only(data: Path, now: Now = _now) -> SqliteArchive:
        """Open a data folder without its lock. Errors: BrokenError where there is no ledger."""
        path = data / LEDGER
        if not path.is_file():
            raise NoLedgerError(data=str(data))
        readers = Readers(path)
        try:
            with readers.borrow() as connection:
                if version_of(connection) == 0:
                    raise NoLedgerError(data=str(data))
        except sqlite3.Error as error:
            readers.close()
            raise UnusableLedgerError(path=str(path), detail=str(error)) from error
        except BrokenError:
            readers.close()
            raise
        return SqliteArchive(readers, now)

    @property
    def accepted(self) -> int:
        """How often an operator has taken a log as it is: one that went back is not noticed."""
        return 0

    @property
    def broken(self) -> BrokenError | None:
        """Why nothing can be written any more until the store is opened again, or None."""
        return self._writer.broken

    @property
    def waiting(self) -> int:
        """How many appends, and other changes, are queued."""
        return self._writer.waiting

    def close(self) -> None:
        """Write what is queued, close every connection and give up the lock."""
        self._closing.close()


def _begin(connection: sqlite3.Connection, now: datetime) -> Opened:
    create(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_NEXT_EPOCH)
    void_leases(connection, now)
    connection.execute("COMMIT")
    return Opened(connection, Settlements(connection), _head(connection))


def _head(connection: sqlite3.Connection) -> Head:
    newest = connection.execute(_NEWEST).fetchone()
    if newest is None:
        return Head(0, _LONG_AGO)
    position, state = newest
    return Head(position, decode(position, state).header.recorded_at)
