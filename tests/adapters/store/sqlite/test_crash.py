"""Killed in the middle, cut at any byte: what was acknowledged is there, and nothing is half."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.connections import PAGE_BYTES
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.append import Due
from shipslog.domain.errors import FenceLostError

from ..making import HandClock, Happened, appending, draft

ROOT = Path(__file__).parents[4]
EVENTS_OF_AN_APPEND = 3
WAL_HEADER, FRAME_HEADER = 32, 24


def check(data: Path, acknowledged: dict[str, tuple[int, int]]) -> SqliteStore:
    """Open a folder after a crash; everything must hold together."""
    store = SqliteStore.open(data)
    events = list(store.log.scan())
    assert list(store.log.verify()) == []
    found = Counter(event.header.command.id for event in events)
    assert set(found.values()) <= {EVENTS_OF_AN_APPEND}
    for command, (first, last) in acknowledged.items():
        ids = {event.header.command.id for event in events[first - 1 : last]}
        assert ids == {command}, "acknowledged and gone"
    return store


def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path) -> None:
    acknowledged: dict[str, tuple[int, int]] = {}
    for life, lines in enumerate((1, 40, 3, 150, 17)):
        program = [sys.executable, "-m", f"{__package__}.appending", str(tmp_path), str(life)]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout
            said = [child.stdout.readline() for _ in range(lines)]
            child.kill()
            said += child.stdout.readlines()
        for line in said:
            if line.endswith(b"\n"):
                command, first, last = line.split()
                acknowledged[command.decode()] = int(first), int(last)
        check(tmp_path, acknowledged).close()
    assert len(acknowledged) >= 211


@pytest.fixture
async def torn(tmp_path: Path) -> tuple[bytes, bytes]:
    """A ledger as a crash leaves it: the file, and a write-ahead log of 12 commits."""
    data = tmp_path / "torn"
    SqliteStore.open(data).close()
    store = SqliteStore.open(data)
    for n in range(12):
        event = Happened(what="x" * (n * 500))
        streams = ((f"a{n}", 1), ("b", n + 1), (f"a{n}", 2))
        asked = appending(draft("c", n + 1)).commands
        drafts = [draft(s, v, event=event, command=asked[0]) for s, v in streams]
        await store.log.append(appending(*drafts, commands=asked))
    files = (data / "ledger.db").read_bytes(), (data / "ledger.db-wal").read_bytes()
    store.close()
    return files


@pytest.mark.parametrize("hours", [0, 1, -1])
async def test_after_a_reboot_every_lease_is_void_and_tokens_grow(
    store: SqliteStore, data: Path, clock: HandClock, tmp_path: Path, hours: int
) -> None:
    # F26: the files as a power cut leaves them, and a clock that may have been set meanwhile.
    streams = [f"deployment:{n}" for n in range(3)]
    for stream in streams:
        await store.log.append(appending(draft(stream, 1), due=(Due(stream, clock()),)))
    before = await store.work.claim("me", len(streams))
    held = await store.work.hold("me", "target:a/b")
    assert [lease.stream for lease in before] == streams
    assert held
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        (disk / name).write_bytes((data / name).read_bytes())
    clock.move(hours * 3600)
    rebooted = SqliteStore.open(disk, clock)
    assert await rebooted.work.renew(before) == ()
    for lease in (*before, held):
        with pytest.raises(FenceLostError):
            await rebooted.log.append(appending(draft(lease.stream, 2), lease=lease))
    after = await rebooted.work.claim("me", len(streams))
    assert [lease.stream for lease in after] == streams
    assert min(lease.token for lease in after) > max(lease.token for lease in (*before, held))
    assert await rebooted.work.hold("another", "target:a/b")
    assert list(rebooted.log.verify()) == []
    rebooted.close()


def reopened(folder: Path, ledger: bytes, wal: bytes) -> int:
    folder.mkdir()
    (folder / "ledger.db").write_bytes(ledger)
    (folder / "ledger.db-wal").write_bytes(wal)
    store = check(folder, {})
    events = list(store.log.scan())
    store.close()
    return len(events)


def test_a_log_cut_at_any_frame_is_a_prefix_of_commits(
    tmp_path: Path, torn: tuple[bytes, bytes]
) -> None:
    ledger, wal = torn
    edges = range(WAL_HEADER, len(wal) + 1, FRAME_HEADER + PAGE_BYTES)
    assert wal[8:12] == PAGE_BYTES.to_bytes(4, "big")
    cuts = sorted({max(0, edge + by) for edge in edges for by in (-1, 0, 1)} | {0, 1})
    heads = [
        reopened(tmp_path / f"cut-{cut}", ledger, wal[:cut]) for cut in cuts if cut <= len(wal)
    ]
    assert heads == sorted(heads)
    assert set(heads) == {3 * n for n in range(13)}


def test_a_flipped_bit_ends_the_log_before_it(tmp_path: Path, torn: tuple[bytes, bytes]) -> None:
    ledger, wal = torn
    heads: list[int] = []
    for at in range(WAL_HEADER, len(wal), len(wal) // 25):
        flipped = bytearray(wal)
        flipped[at] ^= 0x10
        heads.append(reopened(tmp_path / f"flip-{at}", ledger, bytes(flipped)))
    assert heads == sorted(heads)
    assert heads[0] == 0
    assert max(heads) < 36
