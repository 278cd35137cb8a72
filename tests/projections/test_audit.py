"""The audit: one row an event, as its header says it."""

from collections.abc import Sequence

import msgspec
import pytest

from shipslog.domain.event import Recorded
from shipslog.projections import audit
from shipslog.projections.audit import Filters
from shipslog.projections.follower import MAX_LIMIT, Page, Views

SAME = (
    "recorded_at",
    "occurred_at",
    "actor",
    "topic",
    "stream",
    "environment",
    "service",
    "deployment",
)


def found(views: Views, filters: Filters) -> list[int]:
    """Return the positions of what matches, newest first."""
    with views.reading() as db:
        return [entry.position for entry in audit.listed(db, filters, Page(MAX_LIMIT)).items]


def test_there_is_a_row_for_every_event_and_it_says_what_the_header_says(
    views: Views, events: Sequence[Recorded]
) -> None:
    with views.reading() as db:
        rows = audit.listed(db, Filters(), Page(MAX_LIMIT)).items
    assert [row.position for row in rows] == [event.position for event in reversed(events)]
    for row, event in zip(rows, reversed(events), strict=True):
        header = event.header
        assert row.command == header.command.id
        for name in SAME:
            assert getattr(row, name) == getattr(header, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actor", "sub_system"),
        ("topic", "deployment.requested"),
        ("stream", "target:staging/web"),
        ("stream", "environment:staging"),
        ("stream", "pipeline:web"),
        ("environment", "lab"),
        ("service", "batch"),
    ],
)
def test_a_filter_gives_what_is_equal(
    views: Views, events: Sequence[Recorded], name: str, value: str
) -> None:
    wanted = [e.position for e in reversed(events) if getattr(e.header, name) == value]
    assert wanted
    assert found(views, msgspec.convert({name: value}, Filters)) == wanted


def test_a_deployment_is_found_in_every_stream(views: Views, events: Sequence[Recorded]) -> None:
    name = events[2].header.deployment
    assert name is not None
    wanted = [e.position for e in reversed(events) if e.header.deployment == name]
    assert found(views, Filters(deployment=name)) == wanted
    own = [e.position for e in reversed(events) if e.header.stream == f"deployment:{name}"]
    assert found(views, Filters(stream=f"deployment:{name}")) == own
    assert len(own) < len(wanted)


def test_a_topic_with_a_dot_at_its_end_is_a_prefix(
    views: Views, events: Sequence[Recorded]
) -> None:
    wanted = [e.position for e in reversed(events) if e.header.topic.startswith("target.")]
    assert found(views, Filters(topic="target.")) == wanted
    assert found(views, Filters(topic="target")) == []


def test_both_ends_of_a_time_are_included(views: Views, events: Sequence[Recorded]) -> None:
    since, until = events[40].header.recorded_at, events[120].header.recorded_at
    wanted = [e.position for e in reversed(events) if since <= e.header.recorded_at <= until]
    assert found(views, Filters(since=since, until=until)) == wanted


@pytest.mark.parametrize("name", ["actor", "topic", "stream", "environment", "service"])
@pytest.mark.parametrize("text", ["%", "_", "%.", "_.", "' OR 1=1--", "\\", "target:%", "", "."])
def test_a_filter_is_taken_literally(views: Views, name: str, text: str) -> None:
    assert found(views, msgspec.convert({name: text}, Filters)) == []


def test_positions_go_forward_from_where_one_was(views: Views, events: Sequence[Recorded]) -> None:
    filters = Filters(topic="deployment.requested")
    wanted = [e.position for e in events if e.header.topic == "deployment.requested"]
    with views.reading() as db:
        assert audit.positions(db, filters, after=0, limit=1000) == wanted
        assert audit.positions(db, filters, after=wanted[3], limit=2) == wanted[4:6]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(actor="x"), "audit_actor"),
        (Filters(topic="x.y"), "audit_topic"),
        (Filters(topic="x."), "audit_kind"),
        (Filters(environment="x", service="y"), "audit_target"),
        (Filters(deployment="x"), "audit_deployment"),
        (Filters(stream="deployment:x"), "audit_deployment"),
        (Filters(stream="target:x/y"), "audit_target"),
        (Filters(stream="pipeline:x"), "audit_kind"),
    ],
)
def test_no_filter_reads_the_whole_table(views: Views, filters: Filters, index: str) -> None:
    with views.reading() as db:
        explain = "EXPLAIN"
        if db.dialect.name == "sqlite":
            explain = "EXPLAIN QUERY PLAN"
        else:
            db.exec_driver_sql("SET LOCAL enable_seqscan = off")
        statement = audit.matching(filters).compile(db, compile_kwargs={"literal_binds": True})
        plan = list(db.exec_driver_sql(f"{explain} {statement}"))
    assert index in str(plan)
