"""Events told once for all tests of the read side, and views to fold them into."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from shipslog.domain.event import Recorded
from shipslog.projections.follower import Views
from tests.databases import administer, running_server

from .engines import Engine, Postgres, Sqlite
from .telling import everything

DATABASE = "views"


@pytest.fixture(scope="session")
def events() -> Sequence[Recorded]:
    """Return a log in which everything happens that can happen to a deployment."""

    async def told() -> Sequence[Recorded]:
        story = await everything()
        return await story.ledger.page(after=0, limit=10_000)

    return asyncio.run(told())


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """Return the URL of a database for views, with the role of those who serve."""
    with running_server(fsync="off") as server:
        administer(server, f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(server.url(DATABASE)) as connection:
            connection.execute("CREATE ROLE shipslog_app NOLOGIN")
            connection.execute(f"GRANT CREATE ON DATABASE {DATABASE} TO shipslog_app")
        yield server.url(DATABASE)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return each engine in turn, for views that a test changes."""
    engine = _engine(request, tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def own_views(engine: Engine, events: Sequence[Recorded]) -> Views:
    """Return views of the whole log on each engine in turn, to be changed."""
    views = engine.new()
    views.apply(events)
    return views


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def views(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    events: Sequence[Recorded],
) -> Iterator[Views]:
    """Return views of the whole log on each engine in turn, only to be read."""
    engine = _engine(request, tmp_path_factory.mktemp("views"))
    views = engine.new()
    views.apply(events)
    views.complete()
    yield views
    engine.close()


def _engine(request: pytest.FixtureRequest, folder: Path) -> Engine:
    if request.param == "sqlite":
        return Sqlite(folder)
    return Postgres(request.getfixturevalue("database"))
