"""The engines under the read models: empty views wherever a test wants some."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from sqlalchemy import text

from shipslog.projections import READ_MODELS
from shipslog.projections.follower import ReadModel, SqliteViews, Views
from shipslog.projections.follower.postgres import PostgresViews, create
from shipslog.projections.follower.postgres.connecting import writer

Models = Sequence[ReadModel]

_numbers = count()


class Engine(ABC):
    """Makes views and, when the test is over, closes them."""

    def __init__(self) -> None:
        self.opened: list[Views] = []

    def new(self, models: Models = READ_MODELS) -> Views:
        """Return empty views of their own, open."""
        views = self.make(models)
        views.open()
        return views

    def make(self, models: Models = READ_MODELS) -> Views:
        """Return empty views of their own."""
        views = self._make(models)
        self.opened.append(views)
        return views

    def again(self, views: Views, models: Models | None = None) -> Views:
        """Return the same views as another process has them."""
        other = self._again(views, views.models if models is None else models)
        self.opened.append(other)
        return other

    def close(self) -> None:
        """Close everything."""
        for views in self.opened:
            views.close()

    @abstractmethod
    def _make(self, models: Models) -> Views: ...

    @abstractmethod
    def _again(self, views: Views, models: Models) -> Views: ...


class Sqlite(Engine):
    """A file each."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _make(self, models: Models) -> Views:
        return SqliteViews(self._folder / f"views-{next(_numbers)}.db", models)

    def _again(self, views: Views, models: Models) -> Views:
        assert isinstance(views, SqliteViews)
        return SqliteViews(views.path, models)


class Postgres(Engine):
    """A schema each, in one database."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def _make(self, models: Models) -> Views:
        name = f"views_{next(_numbers)}"
        made = writer(self.url, name)
        with made.begin() as db:
            create(db, models, name)
        made.dispose()
        return PostgresViews(self.url, models, name=name)

    def _again(self, views: Views, models: Models) -> Views:
        assert isinstance(views, PostgresViews)
        return PostgresViews(self.url, models, name=views.name)

    def close(self) -> None:
        """Close everything and delete the schemas."""
        super().close()
        cleaner = writer(self.url, "public")
        with cleaner.begin() as db:
            for name in {views.name for views in self.opened if isinstance(views, PostgresViews)}:
                for schema in (name, f"{name}_next", f"{name}_old"):
                    db.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        cleaner.dispose()


async def aclose(engine: Engine) -> None:
    """Close what the event loop has of the views."""
    for views in engine.opened:
        with suppress(OSError):
            await views.aclose()
