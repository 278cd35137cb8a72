"""What runs where: the domain's fold, slim enough to keep."""

from collections.abc import Sequence

import pytest

from shipslog.domain.errors import InvalidCursorError
from shipslog.domain.event import Recorded
from shipslog.domain.target import Target
from shipslog.domain.transaction import empty, fold
from shipslog.projections import targets
from shipslog.projections.follower import Page, Views

from .engines import Engine

WEB = "target:staging/web"


def test_at_every_position_a_target_is_the_fold_of_its_stream(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views = engine.new()
    told: list[Recorded] = []
    for event in events:
        views.apply([event])
        if event.header.stream == WEB:
            told.append(event)
            with views.reading() as db:
                assert targets.get(db, "staging", "web") == targets.fold(told)


def test_a_place_says_what_the_domain_says(events: Sequence[Recorded]) -> None:
    state = empty(WEB)
    standing = None
    for event in events:
        if event.header.stream != WEB:
            continue
        before = state
        state = fold(state, event.fact)
        standing = targets.apply(standing, event)
        place = standing.place
        assert isinstance(state, Target)
        assert isinstance(before, Target)
        assert place.holder == state.holder
        assert place.revision == (state.live.id if state.live else None)
        assert place.version == (state.live.version if state.live else None)
        assert place.deployment == (state.live.deployment if state.live else None)
        if before.live != state.live:
            assert place.since == event.header.occurred_at


def test_a_service_that_only_runs_commands_has_a_holder_and_nothing_live(views: Views) -> None:
    with views.reading() as db:
        place = targets.get(db, "lab", "batch")
    assert place is not None
    assert place.holder is not None
    assert (place.version, place.revision, place.deployment, place.since) == (None,) * 4


def test_how_a_revision_is_started_is_not_kept(views: Views) -> None:
    with views.reading() as db:
        states = list(db.exec_driver_sql("SELECT state FROM targets"))
    assert states
    assert not any("--port" in row[0] or "healthz" in row[0] for row in states)


def test_targets_are_listed_by_name_page_by_page(views: Views) -> None:
    found: list[targets.Place] = []
    page = Page(1)
    while True:
        with views.reading() as db:
            part = targets.listed(db, page)
            names = targets.names(db)
        found += part.items
        if part.next is None:
            break
        page = Page(1, part.next)
    assert [f"{place.environment}/{place.service}" for place in found] == names
    assert names == ["lab/batch", "prod/batch", "staging/batch", "staging/web"]


def test_they_are_filtered_by_environment_and_service(views: Views) -> None:
    with views.reading() as db:
        staging = targets.listed(db, Page(), environment="staging").items
        batch = targets.listed(db, Page(), service="batch").items
        both = targets.listed(db, Page(), environment="staging", service="batch").items
        none = targets.listed(db, Page(), environment="stagin_", service="%").items
    assert [place.service for place in staging] == ["batch", "web"]
    assert [place.environment for place in batch] == ["lab", "prod", "staging"]
    assert both == [place for place in batch if place.environment == "staging"]
    assert none == []


def test_a_cursor_of_another_list_is_refused(views: Views) -> None:
    with views.reading() as db:
        cursor = targets.listed(db, Page(1)).next
        assert cursor is not None
        with pytest.raises(InvalidCursorError):
            targets.listed(db, Page(1, cursor[:-4]))


def test_there_is_none_where_no_deployment_went(views: Views) -> None:
    with views.reading() as db:
        assert targets.get(db, "staging", "nothing") is None
    assert targets.fold([]) is None
