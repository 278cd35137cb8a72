"""The schema of the views on PostgreSQL: made, migrated, compared with the models, built anew."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from alembic.script import ScriptDirectory

from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import Follower, OutdatedViewsError
from shipslog.projections.follower.postgres import REVISION, PostgresViews, migrations
from shipslog.projections.follower.views import UnusableViewsError
from tests.databases import carry_out

from ..counting import fingerprints
from ..engines import Sqlite
from .growing_log import GrowingLog


@pytest.fixture
def empty(database: str) -> Iterator[str]:
    """Return the URL of a database without views."""
    yield database
    with psycopg.connect(database, autocommit=True) as connection:
        for name in ("views", "views_next", "views_old"):
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def test_the_migrations_make_the_tables_of_the_models(empty: str) -> None:
    assert migrations.state(empty, READ_MODELS).revision is None
    assert migrations.check(empty, READ_MODELS) == ["there are no read models"]
    assert migrations.migrate(empty, READ_MODELS) is None
    assert migrations.check(empty, READ_MODELS) == []
    made = migrations.state(empty, READ_MODELS)
    assert (made.revision, made.fits, made.position) == (REVISION, True, 0)
    views = PostgresViews(empty, READ_MODELS)
    assert views.open() == 0
    views.close()


def test_views_built_beside_are_what_the_migrations_make(
    empty: str, events: Sequence[Recorded]
) -> None:
    migrations.migrate(empty, READ_MODELS)
    migrated = described(empty)

    async def rebuilt() -> None:
        follower = Follower(GrowingLog(events), PostgresViews(empty, READ_MODELS))
        await follower.open()
        await follower.rebuild()
        await follower.close()

    asyncio.run(rebuilt())
    assert described(empty) == migrated
    assert migrations.check(empty, READ_MODELS) == []


def described(url: str) -> list[tuple[str, ...]]:
    """Return what the catalogue says of the views."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT relname, relkind, reloptions::text FROM pg_class"
            " WHERE relnamespace = 'views'::regnamespace ORDER BY 1"
        ).fetchall()
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, collation_name"
            " FROM information_schema.columns WHERE table_schema = 'views' ORDER BY 1, 2"
        ).fetchall()
        indexes = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'views' ORDER BY 1"
        ).fetchall()
    return [*tables, *columns, *indexes]


def test_an_older_revision_is_brought_up_with_its_rows(
    empty: str, events: Sequence[Recorded], tmp_path: Path
) -> None:
    migrations.migrate(empty, READ_MODELS, "0001")
    views = PostgresViews(empty, READ_MODELS)
    with pytest.raises(OutdatedViewsError, match="shipslog db upgrade"):
        views.open()
    views.apply(events)
    assert asyncio.run(migrations.upgrade(empty, READ_MODELS, GrowingLog(events))).before == "0001"
    assert views.open() == len(events)
    sqlite = Sqlite(tmp_path)
    whole = sqlite.new()
    whole.apply(events)
    assert fingerprints(views) == fingerprints(whole)
    assert migrations.check(empty, READ_MODELS) == []
    sqlite.close()
    views.close()


class Newer(Deployments):
    """The same rows with another meaning."""

    version: ClassVar[int] = Deployments.version + 1


async def test_rows_that_mean_something_else_are_built_anew(
    empty: str, events: Sequence[Recorded]
) -> None:
    log = GrowingLog(events)
    await migrations.upgrade(empty, [Deployments()], log)
    old = Follower(log, PostgresViews(empty, [Deployments()]))
    await old.open()
    await old.catch_up()
    with pytest.raises(OutdatedViewsError):
        PostgresViews(empty, [Newer()]).open()
    upgraded = await migrations.upgrade(empty, [Newer()], log)
    assert upgraded.rebuilt is not None
    assert upgraded.rebuilt.position == len(events)
    assert migrations.state(empty, [Newer()]).fits
    # Who runs on with the older build is told so, and does no harm.
    with pytest.raises(OutdatedViewsError):
        old.views.apply(events)
    await old.close()
    assert (await migrations.upgrade(empty, [Newer()], log)).rebuilt is None


def test_any_number_may_upgrade_at_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(migrations.migrate, [empty] * 4, [READ_MODELS] * 4))
    assert sorted(map(str, before)) == ["0002", "0002", "0002", "None"]
    assert migrations.state(empty, READ_MODELS).fits


def test_what_was_changed_by_hand_is_found(empty: str) -> None:
    migrations.migrate(empty, READ_MODELS)
    carry_out(empty, "ALTER TABLE views.targets ADD COLUMN note text")
    carry_out(empty, "DROP INDEX views.audit_topic")
    found = "\n".join(migrations.check(empty, READ_MODELS))
    assert "remove_column" in found
    assert "audit_topic" in found


def test_views_of_a_newer_build_are_left_alone(empty: str) -> None:
    migrations.migrate(empty, READ_MODELS)
    carry_out(empty, "UPDATE views.alembic_version SET version_num = '9999'")
    with pytest.raises(OutdatedViewsError, match="newer build"):
        migrations.migrate(empty, READ_MODELS)
    assert not migrations.state(empty, READ_MODELS).fits


def test_a_database_that_cannot_be_reached_is_told_so() -> None:
    with pytest.raises(UnusableViewsError, match="cannot be used"):
        migrations.state("postgresql://nobody@127.0.0.1:1/none", READ_MODELS)


def test_the_code_needs_the_newest_revision() -> None:
    folder = Path(migrations.__file__).parent
    assert ScriptDirectory(str(folder)).get_current_head() == REVISION
