"""Verification finds what somebody with the file and plain SQL has changed."""

import json
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipslog.adapters.store.rows import Row
from shipslog.adapters.store.sqlite.connections import PAGE_BYTES
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import sha256_hex

from ..making import START, HandClock, appending, command, draft, one

TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"


@pytest.fixture
async def raw(data: Path, clock: HandClock) -> AsyncIterator[sqlite3.Connection]:
    """A ledger of four events, its guards taken away."""
    store = SqliteStore.open(data, clock)
    asked = command("asked")
    cause = draft("b", 1, command=asked, causation="a@1")
    await store.log.append(appending(draft("a", 1, command=asked), cause))
    clock.move(10)
    await store.log.append(one("a", 2, occurred_at=clock(), causation="b@1"))
    await store.log.append(one("b", 2, occurred_at=clock()))
    store.close()
    raw = sqlite3.connect(data / "ledger.db", isolation_level=None)
    for (name,) in raw.execute(TRIGGERS).fetchall():
        raw.execute(f"DROP TRIGGER {name}")
    yield raw
    raw.close()


def findings(data: Path) -> list[tuple[int, str]]:
    archive = SqliteStore.read_only(data)
    found = [(finding.position, finding.detail) for finding in archive.log.verify()]
    archive.close()
    return found


def forge(raw: sqlite3.Connection, position: int, **changes: Any) -> None:
    """Change fields of a header; `payload` changes the payload and its hash with it."""
    query = "SELECT state FROM stored_events WHERE position = ?"
    header, payload = raw.execute(query, (position,)).fetchone()[0].split(b"\n")
    if "payload" in changes:
        payload = changes.pop("payload")
        changes["payload_sha256"] = sha256_hex(payload)
    line = json.dumps(json.loads(header) | changes).encode()
    put(raw, position, line + b"\n" + payload)


def put(raw: sqlite3.Connection, position: int, state: object) -> None:
    raw.execute("UPDATE stored_events SET state = ? WHERE position = ?", (state, position))


@pytest.mark.usefixtures("raw")
def test_a_sound_log_has_no_findings(data: Path) -> None:
    assert findings(data) == []
    store = SqliteStore.open(data)
    assert list(store.log.verify()) == []
    store.close()


def test_an_empty_log_is_sound(store: SqliteStore) -> None:
    assert list(store.log.verify()) == []


Change = Callable[[sqlite3.Connection], object]
FAULTS: dict[str, tuple[Change, int, str]] = {
    "a payload": (
        lambda raw: raw.execute(
            "UPDATE stored_events SET state = CAST(state || ' ' AS BLOB) WHERE position = 3"
        ),
        3,
        "the payload is not the one",
    ),
    "a topic column": (
        lambda raw: raw.execute("UPDATE stored_events SET topic = 'x' WHERE position = 1"),
        1,
        "the topic's column differs from the header's test.happened",
    ),
    "a stream column": (
        lambda raw: raw.execute("UPDATE stored_events SET originator_id = 'x' WHERE position = 2"),
        2,
        "the stream's column differs from the header's b",
    ),
    "a version column": (
        lambda raw: raw.execute(
            "UPDATE stored_events SET originator_version = 9 WHERE position = 3"
        ),
        3,
        "the version's column differs from the header's 2",
    ),
    "a hole": (
        lambda raw: raw.execute("DELETE FROM stored_events WHERE position = 2"),
        3,
        "position 2 is missing",
    ),
    "a hole in a stream": (
        lambda raw: raw.execute("DELETE FROM stored_events WHERE position = 1"),
        3,
        "version 1 is missing",
    ),
    "a cut end": (
        lambda raw: raw.execute("DELETE FROM stored_events WHERE position = 4"),
        3,
        "the log ends here, but a command was answered with position 4",
    ),
    "recorded earlier": (
        lambda raw: forge(raw, 4, recorded_at="2029-12-31T00:00:00Z"),
        4,
        "recorded_at is before that of the position before",
    ),
    "occurred earlier": (
        lambda raw: forge(raw, 4, occurred_at="2029-12-31T00:00:00Z"),
        4,
        "occurred_at is before that of the version before",
    ),
    "a cause to come": (
        lambda raw: forge(raw, 3, causation="b@2"),
        3,
        "its cause b@2 stands neither before it nor in the same append",
    ),
    "its own cause": (
        lambda raw: forge(raw, 3, causation="a@2"),
        3,
        "its cause a@2 stands neither",
    ),
    "no such cause": (
        lambda raw: forge(raw, 3, causation="nobody@1"),
        3,
        "its cause nobody@1 stands neither",
    ),
    "no cause at all": (
        lambda raw: forge(raw, 3, causation="a@x"),
        3,
        "its cause a@x stands neither",
    ),
    "another command": (
        lambda raw: forge(raw, 3, command={"id": "x", "sha256": "y"}),
        3,
        "its command is not among those that were settled",
    ),
    "another body": (
        lambda raw: raw.execute("UPDATE commands SET sha256 = 'x' WHERE number = 2"),
        3,
        "its command was settled with another body",
    ),
    "a command elsewhere": (
        lambda raw: raw.execute("UPDATE commands SET first = 1, last = 1 WHERE number = 2"),
        3,
        "its command was settled at 1 to 1",
    ),
    "no header": (
        lambda raw: put(raw, 2, b"\xff\xfe"),
        2,
        "the header cannot be read",
    ),
    "a header without a field": (
        lambda raw: put(raw, 2, b'{"stream": "b"}\n{}'),
        2,
        "the header cannot be read",
    ),
    "an instant without a zone": (
        lambda raw: forge(raw, 2, recorded_at="2030-01-01T00:00:00"),
        2,
        "the header cannot be read",
    ),
    "text for bytes": (
        lambda raw: put(raw, 2, "text"),
        2,
        "the header cannot be read: the state is no bytes",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_where_it_is(raw: sqlite3.Connection, data: Path, fault: str) -> None:
    change, position, detail = FAULTS[fault]
    change(raw)
    found = findings(data)
    assert any(at == position and said.startswith(detail) for at, said in found), found


async def test_what_is_appended_meanwhile_is_no_finding(
    store: SqliteStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.log.append(one("a", 1))
    archive = SqliteStore.read_only(data)
    rows = archive.log.rows

    def rows_until_then() -> Iterator[Row]:
        yield from list(rows())
        # Whoever asks from here on finds a command that is answered with more than was read.
        monkeypatch.setattr(archive.log, "last_settled", lambda: 2)

    monkeypatch.setattr(archive.log, "rows", rows_until_then)
    assert list(archive.log.verify()) == []
    archive.close()


async def test_a_cause_may_come_later_in_the_same_append(store: SqliteStore) -> None:
    asked = command("asked")
    effect = draft("a", 1, command=asked, causation="b@1")
    await store.log.append(appending(effect, draft("b", 1, command=asked)))
    assert list(store.log.verify()) == []


def test_a_damaged_file_is_a_finding(raw: sqlite3.Connection, data: Path) -> None:
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    root = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'stored_events'")
    at = (root.fetchone()[0] - 1) * PAGE_BYTES
    raw.close()
    with (data / "ledger.db").open("r+b") as file:
        file.seek(at)
        file.write(b"\x00" * 100)
    assert [(position, said.partition(":")[0]) for position, said in findings(data)] == [
        (0, "the file is damaged")
    ]


async def test_memory_does_not_grow_with_the_log(store: SqliteStore, clock: HandClock) -> None:
    peaks: list[int] = []
    for start in (0, 6000):
        for n in range(start, start + 6000, 500):
            clock.move(1)
            drafts = [draft(f"s{m}", 1, occurred_at=START) for m in range(n, n + 500)]
            asked = drafts[0].command
            same = [draft(d.stream, 1, command=asked) for d in drafts]
            await store.log.append(appending(*same, commands=(asked,)))
        tracemalloc.start()
        assert list(store.log.verify()) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
