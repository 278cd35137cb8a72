"""What a host has seen: kept whole, joined with what others have seen, thin where it is old."""

from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from shipslog.adapters.store.errors import LogRolledBackError, UnusableLedgerError
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.seen import FILE, Mark, Marks, Seen, keep, recall
from tests.databases import carry_out

from ..making import one

HERE = Seen(system=7, timeline=2, marks=(Mark(4, "d"), Mark(9, "i")))


async def test_the_newest_events_that_were_appended_or_read_are_kept(
    database: str, tmp_path: Path
) -> None:
    file, newest = tmp_path / FILE, Mark(0, "")
    for version in range(1, 21):
        store = await PostgresStore.open(database, terms=Terms(memory=file))
        appended = await store.log.append(one("a", version))
        await store.close()
        newest = Mark(version, appended.events[0].header.payload_sha256)
        assert recall(file).marks[-1] == newest
    assert [mark.position for mark in recall(file).marks] == [8, 16, 18, 19, 20]
    file.unlink()
    store = await PostgresStore.open(database, terms=Terms(memory=file))
    await store.log.page(after=0, limit=100)
    await store.close()
    assert recall(file).marks == (newest,)


async def test_a_log_without_what_was_seen_is_not_opened(database: str, tmp_path: Path) -> None:
    terms = Terms(memory=tmp_path / FILE)
    store = await PostgresStore.open(database, terms=terms)
    for version in range(1, 9):
        await store.log.append(one("a", version))
    await store.close()
    carry_out(database, "ALTER TABLE stored_events DISABLE TRIGGER USER")
    carry_out(database, "DELETE FROM stored_events WHERE position > 6")
    with pytest.raises(LogRolledBackError, match=r"within 7 to 8, and ends at 6\.") as refused:
        await PostgresStore.open(database, terms=terms)
    assert refused.value.slug == "log-rolled-back"


def test_two_know_together_what_each_knows() -> None:
    further = Seen(system=7, timeline=1, marks=(Mark(12, "l"),))
    assert HERE.with_others(further) == replace(further, timeline=2)
    assert further.with_others(HERE) == replace(further, timeline=2)
    assert HERE.with_others(Seen()) == HERE
    assert Seen().with_others(HERE) == HERE
    accepted = Seen(system=7, timeline=3, accepted=1, marks=(Mark(5, "e"),))
    assert HERE.with_others(accepted) == accepted.with_others(HERE) == accepted
    elsewhere = replace(HERE, system=8)
    assert elsewhere.with_others(further) == elsewhere


def test_what_is_kept_is_whole_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "data" / FILE
    assert recall(file) == Seen()
    assert keep(file, HERE) == recall(file) == HERE
    assert keep(file, Seen()) == HERE
    file.write_text('{"system": 7, "marks"')
    with pytest.raises(UnusableLedgerError, match=str(file)):
        recall(file)


def test_marks_grow_thinner_backwards() -> None:
    marks = Marks(Mark(position, str(position)) for position in range(1, 100_001))
    kept = [mark.position for mark in marks.all()]
    assert kept[-3:] == [99_998, 99_999, 100_000]
    assert len(kept) <= 17
    assert all(later - earlier <= 2 * (100_001 - later) for earlier, later in pairwise(kept))
