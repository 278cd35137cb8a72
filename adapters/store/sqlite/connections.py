"""Connections to `ledger.db`: one that writes and checkpoints, any number that only read.

More than one writing or checkpointing connection would meet SQLite's WAL-reset bug (3.7.0 to
3.51.2), so a file lock keeps other processes out and readers open the file `mode=ro`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ....domain.errors import BrokenError, StoreLockedError
from ..errors import ClosedLedgerError, NotDurableError, UnusableLedgerError

LEDGER = "ledger.db"
LOCK = "lock"
BUSY_SECONDS = 5.0
PAGE_BYTES = 8192
"""Nine events of the usual size to a page; at half of it a commit writes twice as many."""
WAL_BYTES_KEPT = 64 * 1024 * 1024
CACHE_KIB = 64 * 1024
CACHED_STATEMENTS = 512
"""Inserts of 1 to 128 rows at once are statements of their own."""
SYNCHRONOUS_FULL = 2

_PRAGMAS = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA mmap_size = 0;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA cache_size = -{CACHE_KIB};
PRAGMA journal_size_limit = {WAL_BYTES_KEPT};
"""


def take_lock(data: Path) -> int:
    """Return the file descriptor of a data folder's exclusive lock; the folder is made private.

    The lock goes with the descriptor, so also with the process. Errors: StoreLockedError.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    path = data / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreLockedError(path=str(data)) from error
    return descriptor


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes. Errors: BrokenError where commits would not last."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    connection = _connect(path, "rw")
    try:
        connection.executescript(_PRAGMAS)
        require_durable(connection)
    except sqlite3.Error as error:
        connection.close()
        raise UnusableLedgerError(path=str(path), detail=str(error)) from error
    except BrokenError:
        connection.close()
        raise
    return connection


def require_durable(connection: sqlite3.Connection) -> None:
    """Pass a connection whose commits last through a power cut. Errors: BrokenError."""
    mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous: int = connection.execute("PRAGMA synchronous").fetchone()[0]
    if mode != "wal" or synchronous < SYNCHRONOUS_FULL:
        raise NotDurableError(mode=mode, synchronous=synchronous)


class Readers:
    """Read-only connections, each borrowed by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Generator[sqlite3.Connection]:
        """Lend a connection. Errors: BrokenError where the file cannot be opened."""
        # A list's pop and append are one step each, whatever thread calls them.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        finally:
            if self._is_closed:
                connection.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> sqlite3.Connection:
        if self._is_closed:
            raise ClosedLedgerError
        try:
            return _connect(self._path, "ro")
        except sqlite3.Error as error:
            raise UnusableLedgerError(path=str(self._path), detail=str(error)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
