"""Replay: every transition, the whole log, and whether the views are its fold."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from shipslog.domain.deployment import Deployment
from shipslog.domain.errors import BrokenError
from shipslog.domain.event import Recorded
from shipslog.domain.transaction import Aggregate, empty, fold
from shipslog.projections import READ_MODELS, deployments, targets
from shipslog.projections.follower import SqliteViews, Views
from shipslog.projections.replay import Difference, check, replay_all, transitions

from .counting import Counting
from .engines import Engine


def test_every_transition_of_a_deployment_is_shown_with_the_state_after_it(
    events: Sequence[Recorded],
) -> None:
    stream = [e for e in events if e.header.stream == events[2].header.stream]
    shown = list(transitions(stream, deployments.apply))
    assert [recorded for recorded, _ in shown] == stream
    assert all(document.position == recorded.position for recorded, document in shown)
    assert all(before != after for (_, before), (_, after) in pairwise(shown))
    assert shown[-1][1] == deployments.fold(stream)


def test_a_target_is_shown_the_same_way(events: Sequence[Recorded]) -> None:
    stream = [e for e in events if e.header.stream == "target:staging/web"]
    places = [standing.place for _, standing in transitions(stream, targets.apply)]
    versions = [place.version for place in places if place.version]
    assert list(dict.fromkeys(versions)) == ["1.0.0", "1.1.0", "1.2.2", "1.3.0"]


def test_the_whole_log_is_folded_and_counted(events: Sequence[Recorded]) -> None:
    replayed = replay_all(events)
    states: dict[str, Aggregate] = {}
    for event in events:
        stream = event.header.stream
        states[stream] = fold(states.get(stream) or empty(stream), event.fact)
    statuses = [one.status.value for one in states.values() if isinstance(one, Deployment)]
    assert replayed.position == len(events)
    assert replayed.topics == Counter(event.header.topic for event in events)
    assert replayed.streams == Counter(stream.partition(":")[0] for stream in states)
    assert replayed.statuses == Counter(statuses)
    assert replayed.events_per_second > 0


def test_nothing_is_nothing() -> None:
    assert replay_all([]).position == 0


def test_views_that_are_the_fold_of_the_log_show_no_difference(
    engine: Engine, views: Views, events: Sequence[Recorded]
) -> None:
    assert list(check(events, views)) == []
    behind = engine.new()
    behind.apply(events[:77])
    assert list(check(iter(events), behind)) == []


@pytest.mark.parametrize(
    ("statement", "table", "columns"),
    [
        ("UPDATE deployments SET status = 'failed' WHERE status = 'aborted'", "deployments", 1),
        ("UPDATE targets SET version = '9.9.9' WHERE service = 'web'", "targets", 1),
        ("UPDATE audit SET actor = 'sub_bob', topic = 'x.y' WHERE position = 9", "audit", 2),
        ("DELETE FROM history WHERE status = 'queued'", "history", 0),
        ("INSERT INTO history_limits VALUES ('nowhere', 3)", "history_limits", 0),
        ("DELETE FROM definitions WHERE version = 1 AND name = 'web'", "definitions", 0),
    ],
)
def test_a_row_changed_by_hand_is_found(
    own_views: Views, events: Sequence[Recorded], statement: str, table: str, columns: int
) -> None:
    with own_views.writing() as db:
        assert db.exec_driver_sql(statement).rowcount == 1
    (found,) = check(events, own_views)
    assert found.table == table
    assert len(found.columns) == columns
    if statement.startswith("DELETE"):
        assert found.stored is None
    if statement.startswith("INSERT"):
        assert found.folded is None


def test_a_parked_stream_is_a_difference(engine: Engine, events: Sequence[Recorded]) -> None:
    model = Counting(poison=8)
    views = engine.new([model])
    views.apply(events)
    model.poison = 0
    parked, row = check(events, views)
    assert isinstance(parked, Difference)
    assert (parked.model, parked.table) == ("counting", "parked")
    assert parked.key == ("counting", events[7].header.stream)
    assert (row.table, row.columns) == ("counts", ("events",))


def test_views_that_cannot_be_read_are_told_apart_from_different_ones(
    tmp_path: Path, engine: Engine, events: Sequence[Recorded]
) -> None:
    missing = SqliteViews(tmp_path / "missing.db", READ_MODELS)
    with pytest.raises(BrokenError, match="cannot be read"):
        list(check(events, missing))
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database" * 1000)
    with pytest.raises(BrokenError, match="cannot be read"):
        list(check(events, SqliteViews(damaged, READ_MODELS)))
    of_others = engine.new([Counting()])
    with pytest.raises(BrokenError, match="another shape"):
        list(check(events, engine.again(of_others, READ_MODELS)))
