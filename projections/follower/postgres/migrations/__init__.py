"""Migrations of the schema `views`, and what the verbs `db create, upgrade, check, status` ask.

All of it is safe beside processes that run, and safe to be done by two at once: the second waits.
A migration changes tables; where it changes what rows mean, they are built anew beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError

from ...folding import Parked, parked
from ...projecting import Projector, Rebuilt
from ...read_model import ReadModel
from ...rows import put
from ...source import Source
from ...views import PROGRESS, OutdatedViewsError, UnusableViewsError, signature, standing
from .. import connecting, schema
from ..schema import SCHEMA
from ..views import PostgresViews

HEAD = "head"


class Upgraded(msgspec.Struct, frozen=True):
    """What an upgrade did: from which revision to which, and the rebuild if one was needed."""

    before: str | None
    """None: there were no views."""
    revision: str
    rebuilt: Rebuilt | None = None


class State(msgspec.Struct, frozen=True):
    """How the views of a database stand."""

    revision: str | None
    """None: there are none; `shipslog db create` makes them."""
    newest: str
    """The revision that this build needs."""
    fits: bool
    """Whether this build may use them; if not, `shipslog db upgrade` is what is missing."""
    position: int
    parked: tuple[Parked, ...]


async def upgrade(url: str, models: Sequence[ReadModel], log: Source) -> Upgraded:
    """Make the views, or bring them to this build's revision and meaning; the URL is the owner's.

    Errors: UnusableViewsError; OutdatedViewsError where a newer build made them.
    """
    before = await asyncio.to_thread(migrate, url, models)
    if await asyncio.to_thread(_fits, url, models):
        return Upgraded(before, schema.REVISION)
    projector = Projector(log, PostgresViews(url, models))
    try:
        rebuilt = await projector.rebuild()
    finally:
        await projector.close()
    return Upgraded(before, schema.REVISION, rebuilt)


def migrate(url: str, models: Sequence[ReadModel], to: str = HEAD) -> str | None:
    """Bring the tables to a revision and return the one before, None where there were none.

    Errors: UnusableViewsError, OutdatedViewsError.
    """
    with _named(), _alone(url), _connected(url) as db:
        with db.begin():
            before = schema.revision(db)
        if before is not None and before > schema.REVISION:
            raise OutdatedViewsError(remedy="a newer build made them, which is the one to run")
        command.upgrade(_config(db), to)
        with db.begin():
            if db.scalar(select(PROGRESS.c.id)) is None:
                put(db, PROGRESS, [(1, 0, "", signature(models))])
    return before


def check(url: str, models: Sequence[ReadModel]) -> list[str]:
    """Return what is different between the tables there are and those of the models.

    Errors: UnusableViewsError.
    """
    with _named(), _connected(url) as db, db.begin():
        if not _exist(db):
            return ["there are no read models"]
        context = MigrationContext.configure(db, opts={"compare_type": _types_differ})
        return [str(one) for one in compare_metadata(context, schema.tables(models))]


def state(url: str, models: Sequence[ReadModel]) -> State:
    """Return how the views stand. Errors: UnusableViewsError."""
    with _named(), _connected(url) as db, db.begin():
        if not _exist(db):
            return State(None, schema.REVISION, fits=False, position=0, parked=())
        revision = schema.revision(db)
        fits = revision == schema.REVISION and _is_signed(db, models)
        return State(revision, schema.REVISION, fits, standing(db).position, tuple(parked(db)))


def _types_differ(context: MigrationContext, *compared: Any) -> bool:
    _, _, there, ours = compared
    dialect = context.dialect
    return str(there.compile(dialect=dialect)) != str(ours.compile(dialect=dialect))


def _fits(url: str, models: Sequence[ReadModel]) -> bool:
    return state(url, models).fits


def _exist(db: Connection) -> bool:
    return inspect(db).has_table(PROGRESS.name)


def _is_signed(db: Connection, models: Sequence[ReadModel]) -> bool:
    return db.scalar(select(PROGRESS.c.signature)) == signature(models)


@contextmanager
def _alone(url: str) -> Generator[None]:
    """Have a schema that belongs to those who serve, and let nobody change its tables meanwhile."""
    with psycopg.connect(url, connect_timeout=connecting.CONNECT_SECONDS, autocommit=True) as owner:
        owner.execute("SELECT pg_advisory_lock(%s)", (schema.REBUILDING,))
        role, database = Identifier(connecting.ROLE), Identifier(owner.info.dbname)
        owner.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, role))
        owner.execute(
            SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(Identifier(SCHEMA), role)
        )
        yield


@contextmanager
def _connected(url: str) -> Generator[Connection]:
    engine = connecting.writer(url, SCHEMA)
    try:
        with engine.connect() as db:
            yield db
    finally:
        engine.dispose()


@contextmanager
def _named() -> Generator[None]:
    """Say of which part of the house it is that the database refuses something."""
    try:
        yield
    except DBAPIError as error:
        raise UnusableViewsError(detail=str(error.orig)) from error
    except psycopg.Error as error:
        raise UnusableViewsError(detail=str(error)) from error


def _config(db: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    attributes: dict[Any, Any] = config.attributes
    attributes["connection"] = db
    return config
