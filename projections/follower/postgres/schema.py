"""The schema of the views: its tables, and how one takes the place of another.

It belongs to the role of those who serve, so that each of them can fold the log anew beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, MetaData, text
from sqlalchemy.schema import CreateSchema, DropSchema

from ..read_model import PARKED, ReadModel
from ..rows import put
from ..views import PROGRESS, signature

SCHEMA = "views"
REVISION = "0002"
"""Of the tables, as the migrations number them."""

VERSION_TABLE = "alembic_version"
LEADING, REBUILDING, MIGRATING = 7887012601, 7887012602, 7887012603
"""Advisory locks: to move the views, to build some beside them, to change their tables."""


def beside(schema: str) -> str:
    """Return the name of the schema in which views are built beside those of another."""
    return f"{schema}_next"


def before(schema: str) -> str:
    """Return the name that views have once others have taken their place, until they are gone."""
    return f"{schema}_old"


def tables(models: Sequence[ReadModel]) -> MetaData:
    """Return every table of the views of read models."""
    whole = MetaData()
    for table in (PROGRESS, PARKED, *(table for model in models for table in model.tables)):
        table.to_metadata(whole)
    return whole


def create(db: Connection, models: Sequence[ReadModel], schema: str) -> None:
    """Make a schema with empty views, in the transaction of a connection that has its name."""
    db.execute(CreateSchema(schema))
    tables(models).create_all(db, checkfirst=False)
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY"
    db.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num varchar(32) {key})")
    db.execute(
        text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"),  # noqa: S608 - a name of ours
        {"revision": REVISION},
    )
    put(db, PROGRESS, [(1, 0, "", signature(models))])


def drop(db: Connection, schema: str) -> None:
    """Delete a schema with all its views, if there is one."""
    db.execute(DropSchema(schema, cascade=True, if_exists=True))


def lock(db: Connection, milliseconds: int = 0) -> None:
    """Wait until no reader is left, for so long at most (0: for ever), and let none begin."""
    db.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
    db.exec_driver_sql("LOCK TABLE progress IN ACCESS EXCLUSIVE MODE")


def exchange(db: Connection, schema: str) -> None:
    """Give the views beside the place of the present ones; these must be locked."""
    db.exec_driver_sql(f"ALTER SCHEMA {schema} RENAME TO {before(schema)}")
    db.exec_driver_sql(f"ALTER SCHEMA {beside(schema)} RENAME TO {schema}")


def empty(db: Connection, models: Sequence[ReadModel]) -> None:
    """Delete every row; they must be locked."""
    names = ", ".join(name for name in tables(models).tables if name != PROGRESS.name)
    db.exec_driver_sql(f"TRUNCATE {names}")
    put(db, PROGRESS, [(1, 0, "", signature(models))])


def revision(db: Connection) -> str | None:
    """Return the revision of the tables that a connection sees, None where there are none."""
    if db.scalar(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}) is None:
        return None
    found: str | None = db.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return found
