"""Bounded history: the newest deployments of each target, whatever the batches were."""

from collections.abc import Sequence

import pytest

from shipslog.domain.deployment import Deployment
from shipslog.domain.environment import Environment
from shipslog.domain.event import Recorded
from shipslog.projections import history
from shipslog.projections.deployments import fold
from shipslog.projections.follower import MAX_LIMIT, Page, Views
from shipslog.projections.history import DEFAULT_LIMIT, Entry, History

from .engines import Engine

Kept = dict[tuple[str, str], list[str]]


def kept_one_by_one(events: Sequence[Recorded]) -> list[Kept]:
    """Return, for each position, which deployments each target keeps, by the plainest rule."""
    kept: Kept = {}
    limits: dict[str, int] = {}
    after: list[Kept] = []
    for event in events:
        match event.event:
            case Environment.Defined(document=document):
                limits[document["name"]] = document["history_limit"]
            case Deployment.Requested(plan=plan):
                name = event.header.stream.partition(":")[2]
                to = plan.environment, plan.service
                kept = {**kept, to: [*kept.get(to, ()), name]}
            case _:
                pass
        kept = {to: names[-limits.get(to[0], DEFAULT_LIMIT) :] for to, names in kept.items()}
        after.append(kept)
    return after


def entries(views: Views, environment: str, service: str) -> list[Entry]:
    """Return a target's history, newest first."""
    with views.reading() as db:
        return history.listed(db, environment, service, Page(MAX_LIMIT)).items


def test_at_every_position_the_newest_are_kept(engine: Engine, events: Sequence[Recorded]) -> None:
    views = engine.new([History()])
    for event, kept in zip(events, kept_one_by_one(events), strict=True):
        views.apply([event])
        for (environment, service), names in kept.items():
            found = [entry.deployment for entry in entries(views, environment, service)]
            assert found == names[::-1]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 1000])
def test_batches_leave_no_trace(engine: Engine, events: Sequence[Recorded], size: int) -> None:
    views = engine.new([History()])
    for start in range(0, len(events), size):
        views.apply(events[start : start + size])
    for (environment, service), names in kept_one_by_one(events)[-1].items():
        found = [entry.deployment for entry in entries(views, environment, service)]
        assert found == names[::-1]


def test_the_limit_was_changed_while_it_mattered(events: Sequence[Recorded]) -> None:
    sizes = [len(kept.get(("staging", "web"), ())) for kept in kept_one_by_one(events)]
    assert max(sizes) == 3
    assert 2 in sizes[sizes.index(3) :]
    assert sizes[-1] == 3


def test_an_entry_says_what_the_status_document_says(
    views: Views, events: Sequence[Recorded]
) -> None:
    for entry in entries(views, "staging", "web") + entries(views, "lab", "batch"):
        stream = f"deployment:{entry.deployment}"
        document = fold([event for event in events if event.header.stream == stream])
        assert document is not None
        for name in ("version", "status", "requested_by", "reason", "requested_at", "completed_at"):
            assert getattr(entry, name) == getattr(document, name)


def test_it_is_paged_newest_first(views: Views) -> None:
    whole = entries(views, "staging", "web")
    with views.reading() as db:
        first = history.listed(db, "staging", "web", Page(2))
        rest = history.listed(db, "staging", "web", Page(2, first.next))
    assert first.items + rest.items == whole
    assert rest.next is None


def test_one_target_is_not_another(views: Views) -> None:
    assert entries(views, "staging", "we_") == []
    assert entries(views, "%", "web") == []
