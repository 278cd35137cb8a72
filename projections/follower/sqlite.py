"""SqliteViews: one SQLite file with the rows of every read model.

Only one connection of one process writes and checkpoints it; all others open it `mode=ro`. The
file is derived: one that is missing, broken or of another shape is begun anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    QueuePool,
    Table,
    create_engine,
    event,
    func,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.schema import CreateTable

from .limits import has_room
from .read_model import PARKED, ReadModel
from .rows import STORAGES, Columns, Row, Statement, put
from .views import PROGRESS, Views, standing

BUSY_SECONDS = 10.0

Result = TypeVar("Result")


class SqliteViews(Views):
    """The rows of read models in a file or, for a path of None, in memory."""

    def __init__(
        self, path: Path | None, models: Sequence[ReadModel], *, is_lasting: bool = True
    ) -> None:
        super().__init__(models)
        self.path = path
        self._engine = _engine(path, _open_lasting if is_lasting else _open_passing)
        self._readers = _engine(path, _open_reading)
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        """Of the event loop, where one query follows the other."""

    def open(self) -> int:
        """Take the file for writing and return the position it stands at, 0 for a new one."""
        try:
            return self._open()
        except OperationalError:
            raise
        except DatabaseError:
            if self.path is None:
                raise
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return self._open()

    def close(self) -> None:
        """Let go of the file."""
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.close()
        self._writer = self._reader = None
        self.memory.forget()
        self._engine.dispose()
        self._readers.dispose()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Implement `Views.reading`."""
        with self._readers.connect() as db, db.begin():
            yield db

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Implement `Views.read`: at once, for it takes less than handing it to somebody else."""
        reader = self._read_by()
        with reader.begin():
            return query(reader)

    async def look_up(self, query: Callable[[Connection], Result]) -> Result:
        """Implement `Views.look_up`: to begin and to end takes longer than to find."""
        return query(self._read_by())

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Implement `Views.writing`."""
        db = self.connection()
        with db.begin():
            yield db

    def is_poison(self, error: Exception) -> bool:
        """Blame an event, but not for a full disk, a lost file or a machine without memory."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, MemoryError):
            return has_room()
        return not isinstance(cause, sqlite3.OperationalError)

    def clear(self) -> None:
        """Implement `Views.clear`."""
        fresh = SqliteViews(None, self.models)
        fresh.open()
        self.become(fresh)
        fresh.close()

    def beside(self) -> SqliteViews:
        """Return new views in a file beside."""
        path = self.path and self.path.with_name(self.path.name + ".new")
        return SqliteViews(path, self.models, is_lasting=False)

    def begin(self) -> bool:
        """Make the file anew."""
        self.discard()
        self.open()
        return True

    def become(self, other: Views) -> bool:
        """Implement `Views.become`."""
        if not isinstance(other, SqliteViews):
            raise TypeError(other)
        self.memory.forget()
        _driver(other.connection()).backup(_driver(self.connection()))
        return True

    def discard(self) -> None:
        """Close and delete the file."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def complete(self) -> None:
        """Implement `Views.complete`: an index that is sorted once costs half of one that grows."""
        with self.writing() as db:
            for model in self.models:
                for definition in model.last_definitions():
                    db.execute(definition)

    def connection(self) -> Connection:
        """Return the one connection that writes."""
        if self._writer is None:
            self._writer = self._engine.connect()
        return self._writer

    def _read_by(self) -> Connection:
        if self._reader is None:
            self._reader = self._readers.connect()
        return self._reader

    def _open(self) -> int:
        with self.writing() as db:
            is_new = not inspect(db).get_table_names()
            if is_new:
                self._create(db)
            if is_new or self.fits(db):
                self.warm(db)
                return standing(db).position
        self.clear()
        return 0

    def _create(self, db: Connection) -> None:
        db.execute(CreateTable(PROGRESS))
        db.execute(CreateTable(PARKED))
        for model in self.models:
            later = {str(one.element.name) for one in model.last_definitions()}
            for definition in model.definitions():
                if str(definition.element.name) not in later:
                    db.execute(definition)
        put(db, PROGRESS, [(1, 0, "", self.signature)])


class _Storage:
    def put(self, db: Connection, table: Table, rows: Sequence[Row]) -> None:
        # SQLAlchemy's way of handing rows on takes as long as storing a few of them.
        _driver(db).executemany(_upsert(table), rows)

    add = put

    def amend(self, db: Connection, columns: Columns, rows: Sequence[Row]) -> None:
        _driver(db).executemany(_update(columns), rows)

    def ask(
        self, db: Connection, statement: Statement, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        sql, constants = _spelled(statement)
        return _driver(db).execute(sql, {**constants, **values}).fetchall()

    def do(self, db: Connection, statement: Statement, values: Mapping[str, Any]) -> None:
        self.ask(db, statement, values)

    def among(self, key: Sequence[Column[Any]], keys: ColumnElement[str]) -> ColumnElement[bool]:
        each = func.json_each(keys).table_valued("value")
        parts = [func.json_extract(each.c.value, f"$[{n}]") for n in range(len(key))]
        return tuple_(*key).in_(select(*parts))


STORAGES["sqlite"] = _Storage()


@cache
def _spelled(statement: Statement) -> tuple[str, Mapping[str, Any]]:
    compiled = statement.compile(dialect=dialect(paramstyle="named"))
    return str(compiled), compiled.params


@cache
def _upsert(table: Table) -> str:
    statement = insert(table)
    changed = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    keyed = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return str(keyed.compile(dialect=dialect()))


@cache
def _update(columns: Columns) -> str:
    table = columns[0].table
    place = {column.name: f"?{number}" for number, column in enumerate(columns, start=1)}
    key = [f"{column.name} = {place.pop(column.name)}" for column in table.primary_key]
    changed = [f"{name} = coalesce({value}, {name})" for name, value in place.items()]
    return f"UPDATE {table} SET {', '.join(changed)} WHERE {' AND '.join(key)}"  # noqa: S608 - names of ours


def _engine(path: Path | None, opened: Callable[[Path | None], sqlite3.Connection]) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: opened(path), poolclass=QueuePool)
    begin = "BEGIN" if opened is _open_reading else "BEGIN IMMEDIATE"

    def started(db: Connection) -> None:
        db.exec_driver_sql(begin)

    event.listen(engine, "begin", started)
    return engine


def _open_lasting(path: Path | None) -> sqlite3.Connection:
    # The log is what must survive; after a crash the views are behind, and catch up.
    pragmas = "journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 4000"
    return _connect(str(path or ":memory:"), *pragmas)


def _open_passing(path: Path | None) -> sqlite3.Connection:
    return _connect(str(path or ":memory:"), "journal_mode = MEMORY", "synchronous = OFF")


def _open_reading(path: Path | None) -> sqlite3.Connection:
    if path is None:
        message = "Views in memory have no readers."
        raise ValueError(message)
    return _connect(f"{path.absolute().as_uri()}?mode=ro")


def _connect(name: str, *pragmas: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        name,
        uri=name.startswith("file:"),
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    try:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _driver(db: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", db.connection.driver_connection)
