"""The database refuses by itself, also to somebody with a shell and plain SQL."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore

from ..making import appending, draft, one

NEXT = "INSERT INTO stored_events VALUES (4, 'a', 3, 't', x'00')"
KNOWN = "INTO stored_events VALUES (1, 'a', 1, 't', x'00')"


@pytest.fixture
async def raw(data: Path) -> AsyncIterator[sqlite3.Connection]:
    store = SqliteStore.open(data)
    await store.log.append(appending(draft("a", 1), draft("a", 2)))
    await store.log.append(one("b", 1))
    await store.blobs.put(b"output")
    store.close()
    raw = sqlite3.connect(data / "ledger.db", isolation_level=None)
    yield raw
    raw.close()


def everything(raw: sqlite3.Connection) -> list[str]:
    return list(raw.iterdump())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET state = x'00' WHERE position = 1",
        "UPDATE OR REPLACE stored_events SET position = 2 WHERE position = 1",
        "UPDATE stored_events SET topic = topic",
        "DELETE FROM stored_events",
        "DELETE FROM stored_events WHERE position = 3",
        f"INSERT {KNOWN}",
        f"INSERT OR REPLACE {KNOWN}",
        f"REPLACE {KNOWN}",
        f"INSERT {KNOWN} ON CONFLICT DO UPDATE SET state = x'00'",
        "INSERT OR REPLACE INTO stored_events VALUES (4, 'a', 2, 't', x'00')",
        "INSERT OR REPLACE INTO stored_events VALUES (2, 'a', 3, 't', x'00')",
        "INSERT INTO stored_events VALUES (5, 'a', 3, 't', x'00')",
        "INSERT INTO stored_events VALUES (0, 'a', 3, 't', x'00')",
        "INSERT INTO stored_events VALUES (-1, 'a', 3, 't', x'00')",
        "INSERT INTO stored_events VALUES (NULL, 'a', 3, 't', x'00')",
        "INSERT INTO stored_events VALUES (4, 'a', 4, 't', x'00')",
        "INSERT INTO stored_events VALUES (4, 'c', 2, 't', x'00')",
        "INSERT INTO stored_events VALUES (4, 'c', 0, 't', x'00')",
        "INSERT INTO stored_events VALUES (4, 'c', NULL, 't', x'00')",
        "INSERT INTO stored_events SELECT NULL, 'a', 3, 't', x'00'",
        f"{NEXT}, (6, 'a', 4, 't', x'00')",
        "UPDATE commands SET sha256 = ''",
        "DELETE FROM commands WHERE number = 2",
        "INSERT OR REPLACE INTO commands VALUES (1, 'id', 'sha', 1, 1)",
        "INSERT INTO commands VALUES (4, 'id', 'sha', 1, 1)",
        "UPDATE blobs SET bytes = x'00'",
        "INSERT OR REPLACE INTO blobs SELECT digest, x'00', created_at FROM blobs",
    ],
)
def test_history_is_not_rewritten(raw: sqlite3.Connection, statement: str) -> None:
    before = everything(raw)
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    assert everything(raw) == before


@pytest.mark.parametrize("verb", ["INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK"])
def test_no_way_of_inserting_is_let_through(raw: sqlite3.Connection, verb: str) -> None:
    before = everything(raw)
    with pytest.raises(sqlite3.IntegrityError, match="next position"):
        raw.execute(f"{verb} {KNOWN}")
    assert everything(raw) == before


def test_what_is_next_is_let_through(raw: sqlite3.Connection) -> None:
    raw.execute(f"{NEXT}, (5, 'c', 1, 't', x'00')")
    assert raw.execute("SELECT max(position) FROM stored_events").fetchone() == (5,)


def test_a_blob_may_be_deleted_by_retention(raw: sqlite3.Connection) -> None:
    assert raw.execute("DELETE FROM blobs").rowcount == 1


async def test_the_writer_stops_where_somebody_else_has_written(data: Path) -> None:
    store = SqliteStore.open(data)
    await store.log.append(one("a", 1))
    raw = sqlite3.connect(data / "ledger.db", isolation_level=None)
    raw.execute("INSERT INTO stored_events VALUES (2, 'x', 1, 't', x'00')")
    raw.close()
    with pytest.raises(Exception, match="failed while it committed"):
        await store.log.append(one("b", 1))
    assert "next position" in str(store.broken)
    store.close()
