"""Definitions: every version kept, the newest in force."""

from collections.abc import Sequence

from shipslog.domain.event import Recorded
from shipslog.projections import definitions
from shipslog.projections.follower import Page, Views


def test_every_version_of_an_environment_is_kept(views: Views, events: Sequence[Recorded]) -> None:
    defined = [
        event
        for event in events
        if event.header.topic == "environment.defined" and event.header.environment == "staging"
    ]
    with views.reading() as db:
        found = definitions.versions(db, "environment", "staging", Page()).items
    assert [one.version for one in found] == [event.header.stream_version for event in defined]
    assert [one.position for one in found] == [event.position for event in defined]
    assert [one.document["history_limit"] for one in found] == [3, 2, 4]
    assert {one.defined_by for one in found} == {"sub_alice"}


def test_the_newest_is_in_force_and_older_ones_are_had_by_number(views: Views) -> None:
    with views.reading() as db:
        newest = definitions.get(db, "environment", "staging")
        first = definitions.get(db, "environment", "staging", 1)
        missing = definitions.get(db, "environment", "staging", 99)
    assert newest is not None
    assert first is not None
    assert newest.document["history_limit"] == 4
    assert first.document["history_limit"] == 3
    assert missing is None


def test_each_kind_is_listed_by_name_as_it_is_in_force(views: Views) -> None:
    with views.reading() as db:
        environments = definitions.listed(db, "environment", Page(2))
        rest = definitions.listed(db, "environment", Page(2, environments.next))
        pipelines = definitions.listed(db, "pipeline", Page()).items
    names = [one.name for one in environments.items + rest.items]
    assert names == ["lab", "prod", "staging"]
    assert rest.items[0].document["history_limit"] == 4
    assert [one.name for one in pipelines] == ["batch", "web"]


def test_a_name_is_taken_literally(views: Views) -> None:
    with views.reading() as db:
        assert definitions.get(db, "environment", "%") is None
        assert definitions.get(db, "pipeline", "staging") is None
