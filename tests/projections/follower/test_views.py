"""The file of views: rows and position in one transaction, and what befalls it."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from sqlalchemy import (
    Connection,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError

from shipslog.domain.errors import CorruptLogError
from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS, deployments
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import (
    Page,
    Parked,
    Views,
    limits,
    put,
    stale_since,
)

from ..counting import COUNTS, Counting, fingerprints
from ..engines import Engine


@pytest.fixture
def views(own_views: Views) -> Views:
    """Return views of the whole log, to be changed."""
    return own_views


@pytest.mark.parametrize("size", [1, 3, 50])
def test_whatever_the_batches_every_byte_is_the_same(
    engine: Engine, views: Views, events: Sequence[Recorded], size: int
) -> None:
    others = engine.new()
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
    engine: Engine, views: Views, events: Sequence[Recorded]
) -> None:
    others = engine.new()
    others.apply(events[:60])
    others.apply(events[40:])
    assert fingerprints(others) == fingerprints(views)


def test_a_missing_position_is_refused(engine: Engine, events: Sequence[Recorded]) -> None:
    views = engine.new()
    views.apply(events[:5])
    with pytest.raises(CorruptLogError, match="position 6"):
        views.apply(events[6:])
    assert views.standing().position == 5


def test_rows_and_position_are_stored_together_or_not_at_all(
    engine: Engine, views: Views, events: Sequence[Recorded]
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    class Killing(Deployments):
        """Ends the process once its rows are written."""

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            super().apply(db, events)
            if events[-1].position > 40:
                raise Killed

    others = engine.new([Killing(), *READ_MODELS[1:]])
    others.apply(events[:30])
    before = fingerprints(others)
    with pytest.raises(Killed):
        others.apply(events[30:])
    assert others.standing().position == 30
    assert fingerprints(others) == before
    others.close()
    reopened = engine.again(others, READ_MODELS)
    assert reopened.open() == 30
    reopened.apply(events)
    assert fingerprints(reopened) == fingerprints(views)
    reopened.close()


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_read_model_may_ask_through_sqlalchemy_too(
    engine: Engine, events: Sequence[Recorded], size: int
) -> None:
    class Asking(Counting):
        """Counts on top of what it finds."""

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            before = {row.stream: row.events for row in db.execute(select(COUNTS))}
            more = Counter(event.header.stream for event in events)
            put(db, COUNTS, [(one, n + before.get(one, 0)) for one, n in more.items()])

    views = engine.new([Asking(), Deployments()])
    for start in range(0, len(events), size):
        views.apply(events[start : start + size])
    whole = engine.new([Counting(), Deployments()])
    whole.apply(events)
    assert fingerprints(views) == fingerprints(whole)
    assert engine.again(views).standing().position == len(events)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_poison_parks_its_stream_and_all_others_go_on(
    engine: Engine, events: Sequence[Recorded], size: int
) -> None:
    views = engine.new([Counting(poison=8), Deployments()])
    whole = engine.new([Counting(), Deployments()])
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
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views = engine.new([Counting(poison=8)])
    views.apply(events)
    with views.reading() as db:
        columns = select(COUNTS.c.stream, stale_since("counting", literal("") + COUNTS.c.stream))
        stale = {row.stream: row.stale_since for row in db.execute(columns)}
    assert stale.pop(events[7].header.stream) == 8
    assert set(stale.values()) == {None}


@pytest.mark.parametrize("count", [2**70, None])
@pytest.mark.parametrize("size", [20, 1000])
def test_what_cannot_be_stored_is_poison_too(
    engine: Engine, events: Sequence[Recorded], count: int | None, size: int
) -> None:
    class Unstorable(Counting):
        """Counts what the driver refuses to send, or the database to take."""

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            for e in events:
                put(db, COUNTS, [(e.header.stream, count if e.position == 8 else 1)])

    views = engine.new([Unstorable(), Deployments()])
    for start in range(0, len(events), size):
        views.apply(events[start : start + size])
    assert [parked.position for parked in views.parked()] == [8]
    assert views.standing().position == len(events)


@pytest.mark.parametrize("fault", [MemoryError, KeyboardInterrupt])
def test_trouble_that_no_event_is_to_blame_for_parks_nothing(
    engine: Engine,
    events: Sequence[Recorded],
    fault: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ROOM_BYTES", 2**62)
    model = Counting(poison=8, fault=fault)
    views = engine.new([model])
    with pytest.raises(fault):
        views.apply(events)
    assert (views.standing().position, views.parked()) == (0, [])
    model.poison = 0
    assert views.apply(events).position == len(events)


def test_an_event_that_takes_all_memory_is_parked(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    # F36: once its fold has let go, there is memory again.
    views = engine.new([Counting(poison=8, fault=MemoryError)])
    (parked,) = views.apply(events).parked
    assert (parked.position, parked.error) == (8, "MemoryError: I cannot bear 8")
    assert views.standing().position == len(events)


def test_two_who_move_the_views_do_not_lose_a_batch(
    engine: Engine, views: Views, events: Sequence[Recorded]
) -> None:
    mine = engine.new()
    mine.apply(events[:10])
    theirs = engine.again(mine)
    theirs.open()
    theirs.apply(events[10:90])
    mine.apply(events[10:])
    assert fingerprints(mine) == fingerprints(views)
    theirs.close()


def test_a_reader_cannot_write_and_sees_one_position(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views = engine.new()
    views.apply(events[:30])
    with views.reading() as db:
        before = [model.fingerprint(db) for model in READ_MODELS]
        views.apply(events[30:])
        assert [model.fingerprint(db) for model in READ_MODELS] == before
        with pytest.raises(DBAPIError, match=r"read-?only"):
            db.exec_driver_sql("DELETE FROM deployments")
    assert fingerprints(views) != before


def test_others_take_the_place_in_one_step(
    engine: Engine, views: Views, events: Sequence[Recorded]
) -> None:
    before = fingerprints(views)
    others = views.beside()
    assert others.begin()
    others.apply(events[:30])
    views.hold()
    assert views.become(others)
    views.let_go(keep=True)
    others.discard()
    expected = engine.new()
    expected.apply(events[:30])
    assert fingerprints(views) == fingerprints(expected) != before
    assert views.standing().position == 30
    assert views.apply(events).position == len(events)
    assert fingerprints(views) == before


def test_an_event_of_a_later_build_parks_its_deployment_alone(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    there = events[5]
    header = msgspec.structs.replace(there.header, topic="deployment.teleported")
    log = [*events[:5], Recorded(there.position, header, there.payload), *events[6:]]
    views = engine.new()
    assert views.apply(log).position == len(events)
    (parked,) = views.parked()
    assert (parked.model, parked.stream) == ("deployments", header.stream)
    assert parked.error.startswith("UnknownTopicError: ")
    with views.reading() as db:
        documents = deployments.listed(db, deployments.Filters(), Page(1000)).items
    stale = {document.id: document for document in documents if document.stale_since}
    (document,) = stale.values()
    assert (document.stale_since, document.position) == (there.position, 5)
