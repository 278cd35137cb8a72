# pyright: reportPrivateUsage=false
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shipslog.adapters.store.errors import (
    ClosedLedgerError,
    NewerLedgerError,
    NoLedgerError,
    NotDurableError,
    ReadOnlyLedgerError,
    UnusableLedgerError,
)
from shipslog.adapters.store.sqlite.connections import require_durable
from shipslog.adapters.store.sqlite.schema import VERSION
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.access import Role
from shipslog.domain.errors import StoreLockedError

from ..making import HandClock, one

TRY_TO_OPEN = """
import sys
from pathlib import Path
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.errors import StoreLockedError
try:
    SqliteStore.open(Path(sys.argv[1]))
except StoreLockedError as error:
    print(error)
"""


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: mode_of(path) for path in folder.iterdir()}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_everything_is_the_users_alone(store: SqliteStore, data: Path) -> None:
    await store.log.append(one("a", 1))
    await store.log.page(after=0, limit=1)
    assert mode_of(data) == 0o700
    files = modes_in(data)
    assert set(files) == {"lock", "ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert set(files.values()) == {0o600}


def test_a_folder_that_others_could_read_is_closed_to_them(data: Path) -> None:
    data.mkdir(mode=0o755)
    SqliteStore.open(data).close()
    assert mode_of(data) == 0o700


def test_a_second_process_is_told_which_store_is_taken(store: SqliteStore, data: Path) -> None:
    assert store.log
    said = subprocess.run(
        [sys.executable, "-c", TRY_TO_OPEN, str(data)], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"Another process has the store {data} open.\n"
    with pytest.raises(StoreLockedError, match=str(data)):
        SqliteStore.open(data)


def test_a_closed_store_is_free_again(data: Path) -> None:
    for _ in range(3):
        store = SqliteStore.open(data)
        store.close()
        store.close()
    assert sorted(path.name for path in data.iterdir()) == ["ledger.db", "lock"]


async def test_a_closed_store_refuses(store: SqliteStore) -> None:
    store.close()
    with pytest.raises(ClosedLedgerError):
        await store.log.append(one("a", 1))
    with pytest.raises(ClosedLedgerError):
        await store.log.page(after=0, limit=1)


def test_a_newer_builds_ledger_is_refused_and_left_alone(data: Path) -> None:
    SqliteStore.open(data).close()
    with sqlite3.connect(data / "ledger.db") as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    raw.close()
    for opening in (SqliteStore.open, SqliteStore.read_only):
        with pytest.raises(NewerLedgerError, match=f"has version {VERSION + 1}"):
            opening(data)
    # Nothing was left locked either.
    with pytest.raises(NewerLedgerError):
        SqliteStore.open(data)


def test_a_file_that_is_no_database_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "ledger.db").write_bytes(b"not a database, whatever it says" * 100)
    for opening in (SqliteStore.open, SqliteStore.read_only):
        with pytest.raises(UnusableLedgerError, match="not a database"):
            opening(data)


def test_a_ledger_that_is_not_there_is_not_read(data: Path) -> None:
    with pytest.raises(NoLedgerError, match=str(data)):
        SqliteStore.read_only(data)
    assert not data.exists()


@pytest.mark.parametrize("pragma", ["synchronous = NORMAL", "journal_mode = DELETE"])
def test_commits_that_would_not_last_are_refused(tmp_path: Path, pragma: str) -> None:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    require_durable(connection)
    connection.execute(f"PRAGMA {pragma}")
    with pytest.raises(NotDurableError, match="power cut"):
        require_durable(connection)
    connection.close()


def test_the_connections_are_set_as_they_must_be(store: SqliteStore) -> None:
    writing = store._writer._connection
    pragmas = {"synchronous": 2, "mmap_size": 0, "foreign_keys": 1, "secure_delete": 1}
    assert {name: writing.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas} == pragmas
    with store.log._readers.borrow() as reading:
        for change in ("CREATE TABLE t (x)", "PRAGMA wal_checkpoint(FULL)", "DELETE FROM meta"):
            with pytest.raises(sqlite3.OperationalError):
                reading.execute(change)


async def test_an_archive_reads_beside_the_server(
    store: SqliteStore, data: Path, clock: HandClock
) -> None:
    alice = await store.directory.ensure("user", "alice")
    sealed = await store.keyring.seal(alice, "because")
    digest = await store.blobs.put(b"output")
    await store.log.append(one("a", 1))
    archive = SqliteStore.read_only(data, clock)
    assert [e.reference for e in archive.log.scan()] == ["a@1"]
    assert await archive.keyring.open([sealed]) == {sealed: "because"}
    assert (await archive.directory.resolve([alice]))[alice].name == "alice"
    assert await archive.blobs.get(digest) == b"output"
    await store.log.append(one("a", 2))
    assert await archive.log.head() == 2
    assert (await archive.log.command(one("a", 2).commands[0].id)) is not None
    archive.close()


@pytest.mark.usefixtures("store")
async def test_an_archive_changes_nothing(data: Path) -> None:
    archive = SqliteStore.read_only(data)
    with pytest.raises(ReadOnlyLedgerError):
        await archive.directory.ensure("user", "bob")
    with pytest.raises(ReadOnlyLedgerError):
        await archive.keyring.seal("sub_without_a_key", "text")
    with pytest.raises(ReadOnlyLedgerError):
        await archive.blobs.put(b"x")
    archive.close()


async def test_an_archive_does_not_see_what_is_not_committed(
    store: SqliteStore, data: Path
) -> None:
    await store.log.append(one("a", 1))
    writing = store._writer._connection
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("INSERT INTO stored_events VALUES (2, 'a', 2, 't', x'00')")
    archive = SqliteStore.read_only(data)
    assert await archive.log.head() == 1
    assert len(await archive.log.page(after=0, limit=10)) == 1
    writing.execute("ROLLBACK")
    archive.close()


async def test_an_archive_reads_after_a_crash(
    store: SqliteStore, data: Path, tmp_path: Path
) -> None:
    await store.log.append(one("a", 1))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        (crashed / name).write_bytes((data / name).read_bytes())
    archive = SqliteStore.read_only(crashed)
    assert await archive.log.head() == 1
    archive.close()
    reopened = SqliteStore.open(crashed)
    assert await reopened.log.head() == 1
    reopened.close()


async def test_what_was_erased_is_in_no_file(store: SqliteStore, data: Path) -> None:
    alice = await store.directory.ensure("user", "Alice Liddell")
    sealed = await store.keyring.seal(alice, "because")
    secret = (await store.keyring._table.secrets([sealed.key]))[sealed.key]
    assert secret
    token, _ = await store.tokens.create(alice, Role.VIEWER, None)

    def is_anywhere(content: bytes) -> bool:
        return any(content in path.read_bytes() for path in data.iterdir())

    assert is_anywhere(secret)
    assert is_anywhere(b"Alice Liddell")
    assert not is_anywhere(token.encode())
    await store.directory.erase(alice)
    assert not is_anywhere(secret)
    assert not is_anywhere(b"Alice Liddell")


def test_no_descriptor_is_left_open(data: Path) -> None:
    before = descriptors()
    for _ in range(3):
        SqliteStore.open(data).close()
        SqliteStore.read_only(data).close()
    assert descriptors() == before
