# pyright: reportPrivateUsage=false
"""What the writer does when writing fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from shipslog.adapters.store.errors import WritingFailedError
from shipslog.adapters.store.sqlite import settled
from shipslog.adapters.store.sqlite import writer as writer_module
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.errors import ConflictError, OutcomeUnknownError
from shipslog.domain.event import CommandRef

from ..making import Happened, appending, command, draft, one


class Failing:
    """A connection on which the n-th such statement fails, before or after it was carried out."""

    def __init__(self, connection: sqlite3.Connection, statement: str, code: int, at: int) -> None:
        self._connection = connection
        self._statement = statement
        self._code = code
        self._left = at
        self.carries_out = False

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._left -= statement == self._statement
        if statement != self._statement or self._left:
            return self._connection.execute(statement, *values)
        if self.carries_out:
            self._connection.execute(statement, *values)
        error = sqlite3.OperationalError("planted")
        error.sqlite_errorcode = self._code
        raise error

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


Plant = Callable[..., Failing]


@pytest.fixture
def plant(store: SqliteStore) -> Plant:
    def plant(statement: str, code: int, at: int = 1) -> Failing:
        failing = Failing(store._writer._connection, statement, code, at)
        store._writer._connection = failing  # type: ignore[assignment]
        return failing

    return plant


async def in_one_group(store: SqliteStore, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Hold the writer until every call has queued."""
    entered, gate = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        entered.set()
        gate.wait()

    store._writer.change_later(hold)
    entered.wait()
    waiting = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0)
    gate.set()
    return await waiting


async def test_a_full_disk_stores_nothing_and_passes(store: SqliteStore, data: Path) -> None:
    await store.log.append(one("a", 1))
    writing = store._writer._connection
    pages = writing.execute("PRAGMA page_count").fetchone()[0]
    writing.execute(f"PRAGMA max_page_count = {pages + 1}")
    large = [one(f"s{n}", 1, event=Happened(what="x" * 50_000)) for n in range(10)]
    outcomes = await asyncio.gather(*map(store.log.append, large), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknownError}
    assert store.broken is None
    writing.execute("PRAGMA max_page_count = 1000000")
    assert await store.log.head() == 1
    assert (await store.log.append(large[0])).last == 2
    store.close()
    with sqlite3.connect(data / "ledger.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
async def test_after_a_failed_sync_nothing_more_is_written(
    store: SqliteStore, plant: Plant, statement: str
) -> None:
    await store.log.append(one("a", 1))
    plant(statement, sqlite3.SQLITE_IOERR_FSYNC)
    with pytest.raises(OutcomeUnknownError):
        await store.log.append(one("a", 2))
    assert "planted" in str(store.broken)
    with pytest.raises(WritingFailedError, match="has to be opened again"):
        await store.log.append(one("a", 2))
    with pytest.raises(WritingFailedError):
        await store.blobs.put(b"x")
    assert [e.reference for e in store.log.scan()] == ["a@1"]


@pytest.mark.parametrize("was_carried_out", [False, True])
async def test_an_unknown_outcome_is_settled_by_asking_again(
    data: Path, store: SqliteStore, plant: Plant, *, was_carried_out: bool
) -> None:
    plant("COMMIT", sqlite3.SQLITE_IOERR_FSYNC).carries_out = was_carried_out
    append = one("a", 1)
    with pytest.raises(OutcomeUnknownError):
        await store.log.append(append)
    assert await store.log.head() == 0
    store.close()
    reopened = SqliteStore.open(data)
    answer = await reopened.log.append(append)
    assert (answer.first, answer.last, answer.known) == (1, 1, was_carried_out)
    reopened.close()


async def test_everybody_in_the_group_is_told(store: SqliteStore, plant: Plant) -> None:
    await store.log.append(one("a", 1))
    plant("COMMIT", sqlite3.SQLITE_FULL, at=2)
    outcomes = await in_one_group(
        store,
        store.log.append(one("b", 1)),
        store.log.append(one("a", 1, command=command("x"))),
        store.log.append(one("c", 1)),
        store.directory.ensure("user", "alice"),
    )
    kinds = [OutcomeUnknownError, ConflictError, OutcomeUnknownError, OutcomeUnknownError]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert store.broken is None
    assert (await store.log.append(one("b", 1))).last == 2


async def test_what_failed_leaves_nothing_in_memory(store: SqliteStore, plant: Plant) -> None:
    plant("COMMIT", sqlite3.SQLITE_FULL)
    append = one("a", 1)
    with pytest.raises(OutcomeUnknownError):
        await store.log.append(append)
    assert await store.log.command(append.commands[0].id) is None
    assert not (await store.log.append(append)).known


async def test_a_change_that_fails_undoes_only_itself(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('x', 1)")
        message = "planted"
        raise RuntimeError(message)

    outcomes = await in_one_group(
        store, store.log.append(one("a", 1)), store._writer.change(fail), store.blobs.put(b"x")
    )
    assert isinstance(outcomes[1], RuntimeError)
    assert await store.log.head() == 1
    assert await store.blobs.get(str(outcomes[2])) == b"x"
    with store.log._readers.borrow() as reading:
        assert reading.execute("SELECT 1 FROM meta WHERE name = 'x'").fetchone() is None


async def test_what_cannot_be_written_down_does_not_break_the_store(store: SqliteStore) -> None:
    for call in (
        store.log.append(one("a", 1, event=Happened(what="\ud800"))),
        store.log.append(one("\ud800", 1, command=command("x"))),
        store.log.append(one("a", 1, actor="\ud800")),
        store.log.append(one("a", 1, command=CommandRef("\ud800", ""))),
        store.log.append(appending(draft("a", 1), expects={"\ud800": 0})),
        store.directory.ensure("user", "\ud800"),
        store.keyring.seal("\ud800", "text"),
    ):
        with pytest.raises((UnicodeEncodeError, OutcomeUnknownError)):
            await call
    assert store.broken is None
    assert (await store.log.append(one("a", 1))).last == 1


async def test_groups_are_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "GROUP", 10)
    sizes: list[int] = []
    commit = store._writer._commit

    def count(group: list[Any]) -> None:
        sizes.append(len(group))
        commit(group)

    monkeypatch.setattr(store._writer, "_commit", count)
    await asyncio.gather(*(store.log.append(one(f"s{n}", 1)) for n in range(95)))
    assert max(sizes) == 10
    assert sum(sizes) == 95


async def test_commands_are_found_before_and_after_they_are_indexed(
    data: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "INDEXED_AT_ONCE", 4096)
    many = 4096 + 414
    ids = tuple(command(f"c{n}") for n in range(many))
    for start in range(0, many, 500):
        some = ids[start : start + 500]
        await store.log.append(appending(draft("a", start // 500 + 1), commands=some))
    recent = store.log._settlements.recent
    assert len(recent) == 10
    archive = SqliteStore.read_only(data)
    for n in (0, 499, 500, 4095, many - 1):
        for log in (store.log, archive.log):
            found = await log.command(ids[n].id)
            assert found is not None
            assert found.first == n // 500 + 1
    archive.close()
    store.close()
    reopened = SqliteStore.open(data)
    assert reopened.log._settlements.recent == recent
    assert (await reopened.log.append(appending(draft("b", 1), commands=ids[:1]))).known
    assert (await reopened.log.append(appending(draft("b", 1), commands=ids[-1:]))).known
    reopened.close()
