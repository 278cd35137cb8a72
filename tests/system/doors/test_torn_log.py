"""A write-ahead log that is torn: what is left is whole, and that more was there shows (F18).

`SHIPSLOG_TEST_EDGES=all` cuts and damages it at every edge of a frame, and a byte to each side.
"""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from shipslog.adapters.store.errors import NoLedgerError
from shipslog.adapters.store.sqlite.connections import PAGE_BYTES
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.api.assembly import missing
from shipslog.api.verbs.asking import ExitCode
from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import SqliteViews, standing
from tests.invariants import violations

from ..installation import Installation
from .asking import desk

EDGES = os.environ.get("SHIPSLOG_TEST_EDGES") or "5"
SEED = os.environ.get("SHIPSLOG_TEST_SEED") or secrets.token_hex(4)
WAL_HEADER, FRAME_HEADER = 32, 24
WAL = "ledger.db-wal"
VIEWS = "views.db"

pytestmark = pytest.mark.system


class Left(NamedTuple):
    """What a torn folder still holds, and what is said to be wrong with it."""

    log: Sequence[Recorded]
    damage: Sequence[object]
    missing: Sequence[object]


async def test_a_torn_log_is_a_prefix_of_whole_commands_and_is_found_out(tmp_path: Path) -> None:
    # F18
    sys.stderr.write(f"SHIPSLOG_TEST_SEED={SEED} takes the same edges\n")
    here = Installation(tmp_path)
    try:
        here.start()
        async with desk(here) as people:
            await people.commands("torn")
        here.kill()
        whole = await left(here.data)
        assert not [*whole.damage, *whole.missing, *violations(whole.log)]
        seen = await seen_by_views(here.data)
        assert 0 < seen <= len(whole.log)
        for name, content in torn((here.data / WAL).read_bytes()):
            found = await left(copied(here.data, tmp_path / name, content))
            assert not [*found.damage, *violations(found.log)], name
            assert is_prefix(found.log, whole.log), name
            # The read models had seen whatever was acknowledged.
            assert bool(found.missing) == (len(found.log) < seen), name
            shutil.rmtree(tmp_path / name)
        wal = (here.data / WAL).read_bytes()
        cut = 0
        for cut in reversed(edges(wal)):
            found = await left(copied(here.data, tmp_path / f"end-{cut}", wal[:cut]))
            if len(found.log) < seen:
                break
        (here.data / WAL).write_bytes(wal[:cut])
        said = here.run("verify")
    finally:
        here.end()
    assert said.returncode == ExitCode.FAILED
    assert f"have seen an event at {seen} that is not in this log" in said.stdout


def torn(wal: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a write-ahead log cut, and with one bit flipped, at the edges of its frames."""
    places = sorted({edge + by for edge in edges(wal) for by in (-1, 0, 1)})
    if EDGES != "all":
        some = Random(SEED).sample(places[1:], int(EDGES))  # noqa: S311 - no secret
        places = [places[0], *some]
    for at in places:
        yield f"cut-{at}", wal[:at]
        yield f"flip-{at}", wal[:at] + bytes((wal[at] ^ 0x10,)) + wal[at + 1 :]


def edges(wal: bytes) -> Sequence[int]:
    return range(WAL_HEADER, len(wal), FRAME_HEADER + PAGE_BYTES)


def copied(data: Path, folder: Path, wal: bytes) -> Path:
    """Return a copy of a data folder with another write-ahead log."""
    folder.mkdir()
    for name in ("ledger.db", VIEWS, f"{VIEWS}-wal"):
        if (data / name).exists():
            shutil.copy(data / name, folder)
    (folder / WAL).write_bytes(wal)
    return folder


async def left(data: Path) -> Left:
    try:
        archive = SqliteStore.read_only(data)
    except NoLedgerError as error:
        return Left((), (), (error,))
    views = SqliteViews(data / VIEWS, READ_MODELS)
    try:
        lost = await missing(archive, views)
        return Left(list(archive.log.scan()), list(archive.log.verify()), lost)
    finally:
        views.close()
        archive.close()


async def seen_by_views(data: Path) -> int:
    views = SqliteViews(data / VIEWS, READ_MODELS)
    try:
        return (await views.read(standing)).position
    finally:
        views.close()


def is_prefix(log: Sequence[Recorded], whole: Sequence[Recorded]) -> bool:
    """Say whether a log is the beginning of another, and no command of it is cut in two."""
    same = [(one.header, one.payload) for one in whole[: len(log)]]
    following = whole[len(log) : len(log) + 1]
    ids = {one.header.command.id for one in following}
    is_whole = not log or log[-1].header.command.id not in ids
    return [(one.header, one.payload) for one in log] == same and is_whole
