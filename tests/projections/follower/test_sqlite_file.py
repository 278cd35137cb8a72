"""The file of views on SQLite: what befalls a file and no other engine."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy.exc import OperationalError

from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import Projector, SqliteViews, Views

from ..counting import Counting, fingerprints
from ..engines import Sqlite
from .growing_log import GrowingLog


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Sqlite]:
    engine = Sqlite(tmp_path)
    yield engine
    engine.close()


def test_a_full_disk_parks_nothing(sqlite: Sqlite, events: Sequence[Recorded]) -> None:
    views = sqlite.new()
    with views.writing() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises((OperationalError, sqlite3.OperationalError), match="full"):
        views.apply(events)
    assert (views.standing().position, views.parked()) == (0, [])
    with views.writing() as db:
        db.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert views.apply(events).position == len(events)


async def test_what_readers_search_by_is_there_once_the_log_is_folded(
    sqlite: Sqlite, events: Sequence[Recorded]
) -> None:
    cut_off = sqlite.new()
    cut_off.apply(events[:50])
    assert "audit_actor" not in indexes(cut_off)
    cut_off.close()
    projector = Projector(GrowingLog(events), cut_off)
    for fold in (projector.catch_up, projector.rebuild):
        await projector.open()
        await fold()
        assert indexes(cut_off) == {
            str(index.name) for model in READ_MODELS for t in model.tables for index in t.indexes
        }
    await projector.close()


def indexes(views: Views) -> set[str]:
    """Return the names of the indexes that a file has, but for those of primary keys."""
    named = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with views.reading() as db:
        return set(db.exec_driver_sql(named).scalars())


def test_views_of_another_shape_are_begun_anew(sqlite: Sqlite, events: Sequence[Recorded]) -> None:
    class Newer(Counting):
        """The same rows with another meaning."""

        version: ClassVar[int] = 2

    old = sqlite.new([Counting()])
    old.apply(events)
    old.close()
    for models in ([Newer()], [Newer(), Deployments()]):
        views = sqlite.again(old, models)
        assert views.open() == 0
        assert views.apply(events).position == len(events)
        views.close()
        assert views.open() == len(events)
        views.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500, b"SQLite format 3\0"])
def test_a_broken_file_is_begun_anew(
    tmp_path: Path, events: Sequence[Recorded], sqlite: Sqlite, content: bytes
) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(content)
    broken = SqliteViews(path, READ_MODELS)
    assert broken.open() == 0
    broken.apply(events)
    whole = sqlite.new()
    whole.apply(events)
    assert fingerprints(broken) == fingerprints(whole)
    broken.close()


def test_a_file_that_is_no_folder_s_is_no_reason_to_delete_anything(tmp_path: Path) -> None:
    views = SqliteViews(tmp_path / "missing" / "views.db", READ_MODELS)
    with pytest.raises(OperationalError):
        views.open()
    views.close()


def test_the_live_file_is_in_wal_mode_and_stays_so(sqlite: Sqlite) -> None:
    views = sqlite.new()
    views.become(sqlite.new())
    assert isinstance(views, SqliteViews)
    assert views.path is not None
    db = sqlite3.connect(views.path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_others_take_the_place_under_readers(sqlite: Sqlite, events: Sequence[Recorded]) -> None:
    views, others = sqlite.new(), sqlite.new()
    views.apply(events)
    others.apply(events[:30])
    with views.reading() as db:
        before = [model.fingerprint(db) for model in READ_MODELS]
        views.become(others)
        assert [model.fingerprint(db) for model in READ_MODELS] == before
    assert fingerprints(views) == fingerprints(others) != before
