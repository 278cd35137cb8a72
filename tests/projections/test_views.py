"""The file of views: rows and position in one transaction, and what befalls it."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    literal,
    select,
)
from sqlalchemy.exc import OperationalError

from shipslog.domain.errors import CorruptLogError
from shipslog.domain.event import Header, Recorded
from shipslog.projections import READ_MODELS, deployments
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import (
    Page,
    Parked,
    ReadModel,
    SqliteViews,
    Views,
    put,
    stale_since,
)

from .conftest import NewViews

COUNTS = Table(
    "counts",
    MetaData(),
    Column("stream", Text, primary_key=True),
    Column("events", Integer, nullable=False),
)


class Counting(ReadModel):
    """Counts the events of each stream; some it cannot bear."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = (COUNTS,)
    streams: ClassVar[tuple[str, ...]] = ("deployment:", "target:")

    def __init__(self, poison: int = 0, fault: type[BaseException] = ValueError) -> None:
        self.poison = poison
        """Position of the event that it cannot bear, 0 for none."""
        self.fault = fault

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        for event in events:
            stream = event.header.stream
            put(db, COUNTS, [(stream, event.header.stream_version)])
            if event.position == self.poison:
                message = f"I cannot bear {event.position}"
                raise self.fault(message)

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        return {COUNTS: COUNTS.c.stream == header.stream}


def fingerprints(views: Views) -> list[str]:
    """Return the digests of all read models."""
    with views.reading() as db:
        return [model.fingerprint(db) for model in views.models]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_whatever_the_batches_every_byte_is_the_same(
    new_views: NewViews, views: Views, events: Sequence[Recorded], size: int
) -> None:
    others = new_views()
    for start in range(0, len(events), size):
        others.apply(events[start : start + size])
    assert fingerprints(others) == fingerprints(views)
    assert len(set(fingerprints(views))) == len(READ_MODELS)


def test_what_was_seen_before_changes_nothing(views: Views, events: Sequence[Recorded]) -> None:
    before = fingerprints(views)
    for again in (events, events[:7], events[-1:], events[:0]):
        assert views.apply(again).position == len(events)
    assert fingerprints(views) == before


def test_a_batch_that_overlaps_adds_what_is_new(
    new_views: NewViews, views: Views, events: Sequence[Recorded]
) -> None:
    others = new_views()
    others.apply(events[:60])
    others.apply(events[40:])
    assert fingerprints(others) == fingerprints(views)


def test_a_missing_position_is_refused(new_views: NewViews, events: Sequence[Recorded]) -> None:
    views = new_views()
    views.apply(events[:5])
    with pytest.raises(CorruptLogError, match="position 6"):
        views.apply(events[6:])
    assert views.standing().position == 5


def test_rows_and_position_are_stored_together_or_not_at_all(
    new_views: NewViews, views: Views, events: Sequence[Recorded]
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    class Killing(Deployments):
        """Ends the process once its rows are written."""

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            super().apply(db, events)
            if events[-1].position > 40:
                raise Killed

    others = new_views([Killing(), *READ_MODELS[1:]])
    others.apply(events[:30])
    before = fingerprints(others)
    with pytest.raises(Killed):
        others.apply(events[30:])
    assert others.standing().position == 30
    assert fingerprints(others) == before
    assert others.path is not None
    others.close()
    reopened = SqliteViews(others.path, READ_MODELS)
    assert reopened.open() == 30
    reopened.apply(events)
    assert fingerprints(reopened) == fingerprints(views)
    reopened.close()


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_poison_parks_its_stream_and_all_others_go_on(
    new_views: NewViews, events: Sequence[Recorded], size: int
) -> None:
    views = new_views([Counting(poison=8), Deployments()])
    whole = new_views([Counting(), Deployments()])
    whole.apply(events)
    stopped: list[Parked] = []
    for start in range(0, len(events), size):
        stopped += views.apply(events[start : start + size]).parked
    (parked,) = views.parked()
    assert stopped == [parked]
    stream = events[7].header.stream
    assert (parked.model, parked.stream, parked.position) == ("counting", stream, 8)
    assert parked.error == "ValueError: I cannot bear 8"
    counted, expected = counts(views), counts(whole)
    assert counted.pop(stream) < expected.pop(stream)
    assert counted == expected
    assert fingerprints(views)[1] == fingerprints(whole)[1]
    assert views.standing().position == len(events)


def counts(views: Views) -> dict[str, int]:
    """Return what was counted."""
    with views.reading() as db:
        return {row.stream: row.events for row in db.execute(select(COUNTS))}


def test_a_parked_row_says_since_when_it_is_stale(
    new_views: NewViews, events: Sequence[Recorded]
) -> None:
    views = new_views([Counting(poison=8)])
    views.apply(events)
    with views.reading() as db:
        columns = select(COUNTS.c.stream, stale_since("counting", literal("") + COUNTS.c.stream))
        stale = {row.stream: row.stale_since for row in db.execute(columns)}
    assert stale.pop(events[7].header.stream) == 8
    assert set(stale.values()) == {None}


def test_what_cannot_be_stored_is_poison_too(
    new_views: NewViews, events: Sequence[Recorded]
) -> None:
    class Overflowing(Counting):
        """Counts beyond what an integer column holds."""

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            for e in events:
                put(db, COUNTS, [(e.header.stream, 2**70 if e.position == 8 else 1)])

    views = new_views([Overflowing()])
    views.apply(events)
    assert [parked.position for parked in views.parked()] == [8]


@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt])
def test_trouble_that_no_event_is_to_blame_for_parks_nothing(
    new_views: NewViews, events: Sequence[Recorded], fault: type[BaseException]
) -> None:
    model = Counting(poison=8, fault=fault)
    views = new_views([model])
    with pytest.raises(fault):
        views.apply(events)
    assert (views.standing().position, views.parked()) == (0, [])
    model.poison = 0
    assert views.apply(events).position == len(events)


def test_a_full_disk_parks_nothing(new_views: NewViews, events: Sequence[Recorded]) -> None:
    views = new_views()
    with views.writing() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OperationalError, match="full"):
        views.apply(events)
    assert (views.standing().position, views.parked()) == (0, [])
    with views.writing() as db:
        db.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert views.apply(events).position == len(events)


def test_two_who_move_the_views_do_not_lose_a_batch(
    new_views: NewViews, views: Views, events: Sequence[Recorded]
) -> None:
    mine = new_views()
    mine.apply(events[:10])
    theirs = SqliteViews(mine.path, READ_MODELS)
    theirs.open()
    theirs.apply(events[10:90])
    mine.apply(events[10:])
    assert fingerprints(mine) == fingerprints(views)
    theirs.close()


def test_views_of_another_shape_are_begun_anew(
    new_views: NewViews, events: Sequence[Recorded]
) -> None:
    class Newer(Counting):
        """The same rows with another meaning."""

        version: ClassVar[int] = 2

    old = new_views([Counting()])
    old.apply(events)
    old.close()
    for models in ([Newer()], [Newer(), Deployments()]):
        views = SqliteViews(old.path, models)
        assert views.open() == 0
        assert views.apply(events).position == len(events)
        views.close()
        assert views.open() == len(events)
        views.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500, b"SQLite format 3\0"])
def test_a_broken_file_is_begun_anew(
    tmp_path: Path, events: Sequence[Recorded], views: Views, content: bytes
) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    broken = SqliteViews(path, READ_MODELS)
    assert broken.open() == 0
    broken.apply(events)
    assert fingerprints(broken) == fingerprints(views)
    broken.close()


def test_a_reader_cannot_write_and_sees_one_position(
    new_views: NewViews, events: Sequence[Recorded]
) -> None:
    views = new_views()
    views.apply(events[:30])
    with views.reading() as db:
        before = [model.fingerprint(db) for model in READ_MODELS]
        views.apply(events[30:])
        assert [model.fingerprint(db) for model in READ_MODELS] == before
        with pytest.raises(OperationalError, match="readonly"):
            db.exec_driver_sql("DELETE FROM deployments")
    assert fingerprints(views) != before


def test_others_take_the_place_under_readers(
    new_views: NewViews, views: Views, events: Sequence[Recorded]
) -> None:
    others = new_views()
    others.apply(events[:30])
    with views.reading() as db:
        before = [model.fingerprint(db) for model in READ_MODELS]
        views.become(others)
        assert [model.fingerprint(db) for model in READ_MODELS] == before
    assert fingerprints(views) == fingerprints(others) != before
    assert views.standing().position == 30
    assert views.apply(events).position == len(events)
    assert fingerprints(views) == before


def test_a_file_that_is_no_folder_s_is_no_reason_to_delete_anything(tmp_path: Path) -> None:
    views = SqliteViews(tmp_path / "missing" / "views.db", READ_MODELS)
    with pytest.raises(OperationalError):
        views.open()
    views.close()


def test_the_live_file_is_in_wal_mode_and_stays_so(views: Views, new_views: NewViews) -> None:
    views.become(new_views())
    assert views.path is not None
    db = sqlite3.connect(views.path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_an_event_of_a_later_build_parks_its_deployment_alone(
    new_views: NewViews, events: Sequence[Recorded]
) -> None:
    there = events[5]
    header = msgspec.structs.replace(there.header, topic="deployment.teleported")
    log = [*events[:5], Recorded(there.position, header, there.payload), *events[6:]]
    views = new_views()
    assert views.apply(log).position == len(events)
    (parked,) = views.parked()
    assert (parked.model, parked.stream) == ("deployments", header.stream)
    assert parked.error.startswith("UnknownTopicError: ")
    with views.reading() as db:
        documents = deployments.listed(db, deployments.Filters(), Page(1000)).items
    stale = {document.id: document for document in documents if document.stale_since}
    (document,) = stale.values()
    assert (document.stale_since, document.position) == (there.position, 5)
