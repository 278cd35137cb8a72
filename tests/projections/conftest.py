"""Events told once for all tests of the read side, and views to fold them into."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import ReadModel, SqliteViews, Views

from .telling import everything

NewViews = Callable[..., Views]


@pytest.fixture(scope="session")
def events() -> Sequence[Recorded]:
    """Return a log in which everything happens that can happen to a deployment."""

    async def told() -> Sequence[Recorded]:
        story = await everything()
        return await story.ledger.page(after=0, limit=10_000)

    return asyncio.run(told())


@pytest.fixture
def new_views(tmp_path: Path) -> Iterator[NewViews]:
    """Return a function that opens empty views, all in files of their own."""
    opened: list[Views] = []

    def new(models: Sequence[ReadModel] = READ_MODELS) -> Views:
        views = SqliteViews(tmp_path / f"views-{len(opened)}.db", models)
        views.open()
        opened.append(views)
        return views

    yield new
    for views in opened:
        views.close()


@pytest.fixture
def views(new_views: NewViews, events: Sequence[Recorded]) -> Views:
    """Return views of the whole log."""
    views = new_views()
    views.apply(events)
    return views
