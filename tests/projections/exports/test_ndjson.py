"""NDJSON exports: every event has a line of its own, the stored bytes as strings."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipslog.domain.errors import CorruptLogError
from shipslog.domain.event import encode_header
from shipslog.domain.ports import Stretch
from shipslog.projections.exports import Filter, Positions, Query
from shipslog.projections.exports.ndjson import chunks

from .making import ANY_TEXT, FewEvents, Stored, rows_of, stored

NAMES = st.sampled_from(["staging", "prod", None])
SERVICES = st.sampled_from(["web", "api", None])
TOPICS = st.sampled_from(["deployment.started", "deployment.failed", "target.held"])
WANTED_TOPICS = st.sampled_from([None, "deployment.failed", "deployment.", "target.", "deploy"])


@st.composite
def some_event(draw: st.DrawFn) -> Stored:
    return stored(
        1,
        environment=draw(NAMES),
        service=draw(SERVICES),
        actor=draw(st.sampled_from(["sub_a", "sub_b"])),
        topic=draw(TOPICS),
        payload=json.dumps({"salt": "00", "text": draw(ANY_TEXT)}, ensure_ascii=False),
    )


@st.composite
def some_query(draw: st.DrawFn) -> Query:
    return Query(
        environment=draw(NAMES),
        service=draw(SERVICES),
        actor=draw(st.sampled_from([None, "sub_a", "sub_c"])),
        topic=draw(WANTED_TOPICS),
    )


EVENTS = st.lists(some_event(), max_size=10)
QUERIES = some_query()


@given(EVENTS, QUERIES)
def test_a_line_holds_the_stored_bytes_and_the_filter_only_its_payload(
    events: list[Stored], query: Query
) -> None:
    log = FewEvents(events)
    rows = rows_of(log.export(log.select("ndjson", query)))
    assert rows == [
        {
            "position": position,
            "header": encode_header(event.header).decode(),
            "payload": event.payload if is_wanted(event, query) else None,
        }
        for position, event in enumerate(events, 1)
    ]


@given(EVENTS, QUERIES)
def test_the_matches_are_counted(events: list[Stored], query: Query) -> None:
    log = FewEvents(events)
    manifest = log.manifest(log.select("ndjson", query))
    assert manifest.counts.events == len(events)
    assert manifest.counts.matched == sum(is_wanted(event, query) for event in events)


def test_the_fields_stand_in_the_order_of_the_contract() -> None:
    log = FewEvents([stored(1)])
    assert log.export(log.select("ndjson")).startswith(b'{"position":1,"header":"{\\"stream\\":')


@pytest.mark.parametrize("length", [1, 7, 200])
def test_any_two_parts_are_the_whole(length: int) -> None:
    log = FewEvents([stored(n) for n in range(150)], length)
    whole = log.export(log.select("ndjson"))
    for cut in range(151):
        parts = [log.select("ndjson", last=cut), log.select("ndjson", first=cut + 1)]
        assert b"".join(map(log.export, parts)) == whole


def test_no_chunk_is_large_because_the_stretch_is() -> None:
    log = FewEvents([stored(n) for n in range(600)], 600)
    (made,) = log.stretches(lambda stretch: list(chunks(stretch, Filter())), after=0, upto=600)
    assert [chunk.last for chunk in made] == [125, 250, 375, 500, 600]
    assert sum(chunk.matched for chunk in made) == 600


def test_no_header_is_read_where_everything_is_wanted() -> None:
    assert Query(from_=2, until=3).is_everything
    (chunk,) = chunks(Stretch(5, [b"no\n{}"]), Query())
    assert chunk.content == b'{"position":5,"header":"no","payload":"{}"}\n'


@pytest.mark.parametrize(
    "state", [b"one line", b"{}\n{}\n{}", b'{"topic": 1}\n{}', b"no\n{}", b"\xff\n{}"]
)
def test_what_is_no_event_is_not_exported(state: bytes) -> None:
    with pytest.raises(CorruptLogError) as caught:
        list(chunks(Stretch(5, [state]), Query(topic="a.b")))
    assert caught.value.context["position"] == 5


def test_nothing_is_exported_of_no_events() -> None:
    log = FewEvents([])
    assert log.export(log.select("ndjson")) == b""
    assert log.select("ndjson").positions == Positions(1, 0)


def is_wanted(event: Stored, query: Query) -> bool:
    header = event.header
    pairs = [
        (query.environment, header.environment),
        (query.service, header.service),
        (query.actor, header.actor),
    ]
    kind = header.topic.partition(".")[0] + "."
    is_topic = query.topic in {None, header.topic, kind}
    return is_topic and all(wanted in {None, found} for wanted, found in pairs)
