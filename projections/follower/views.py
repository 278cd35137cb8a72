"""Views: one SQLite file with the rows of every read model and the position they stand at.

Only one connection of one process writes and checkpoints it; all others open it `mode=ro`. Rows
and position are stored in one transaction for each batch. The file is derived: one that is
missing, broken or of another shape is begun anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import msgspec
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    MetaData,
    QueuePool,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.schema import CreateTable

from ...domain.errors import CorruptLogError
from ...domain.event import Recorded
from .read_model import PARKED, ReadModel, put

BUSY_SECONDS = 10.0
_MAX_ERROR = 500
_ENVIRONMENTAL = (OperationalError, MemoryError)
"""What no event is to blame for: a full disk, a lost file, no memory."""

PROGRESS = Table(
    "progress",
    MetaData(),
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("newest", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
"""One row: how far the log is folded, the payload's hash of the newest event, of what shape."""


class Parked(msgspec.Struct, frozen=True):
    """A stream that a read model cannot fold on: its rows stand still since this position."""

    model: str
    stream: str
    position: int
    error: str


class Standing(NamedTuple):
    """The position reached, and the payload's hash of the event there, as a header has it."""

    position: int
    newest: str


class Applied(NamedTuple):
    """The position reached, and the streams that were parked on the way."""

    position: int
    parked: tuple[Parked, ...]


Result = TypeVar("Result")

Fold = Callable[[Connection, Sequence[ReadModel], Sequence[Recorded]], tuple[Parked, ...]]


class Views:
    """The rows of read models, in a file or, for a path of None, in memory."""

    def __init__(
        self, path: Path | None, models: Sequence[ReadModel], *, is_lasting: bool = True
    ) -> None:
        self.path = path
        self.models = tuple(models)
        self._is_lasting = is_lasting
        self._engine = _engine(path, _open_lasting if is_lasting else _open_passing)
        self._readers = _engine(path, _open_reading)
        self._writer: Connection | None = None

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
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._engine.dispose()
        self._readers.dispose()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Give a connection that cannot write and sees one position of all read models."""
        with self._readers.connect() as db:
            yield db

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return what a query finds; it sees one position of all read models."""
        with self.reading() as db:
            return query(db)

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Give the one connection that writes, in a transaction."""
        db = self._connection()
        with db.begin():
            yield db

    def apply(self, events: Sequence[Recorded]) -> Applied:
        """Fold the events that are new into every read model and store the position reached.

        Events seen before change nothing. An event that a read model cannot fold parks its stream
        there, and all others go on. Errors: CorruptLogError where a position is missing.
        """
        try:
            return self._apply(events, _all_at_once)
        except _PoisonError:
            return self._apply(events, _one_by_one)

    def take(self, events: Sequence[Recorded]) -> None:
        """Fold part of the log, whatever its positions; for views that are kept for a moment."""
        try:
            with self.writing() as db:
                _all_at_once(db, self.models, events)
        except _PoisonError:
            with self.writing() as db:
                _one_by_one(db, self.models, events)

    def clear(self) -> None:
        """Begin anew, in one step for every reader."""
        fresh = Views(None, self.models)
        fresh.open()
        self.become(fresh)
        fresh.close()

    def become(self, other: Views) -> None:
        """Take over everything of other views, in one step for every reader."""
        _driver(other._connection()).backup(_driver(self._connection()))

    def exchange(
        self, rows: Mapping[Table, ColumnElement[bool]], streams: set[str], part: Views
    ) -> None:
        """Replace rows of a read model, and what is parked of these streams, by those of `part`."""
        (model,) = part.models
        with self.writing() as db, part.writing() as new:
            for table, which in rows.items():
                db.execute(delete(table).where(which))
                put(db, table, [tuple(row) for row in new.execute(select(table).where(which))])
            db.execute(
                delete(PARKED).where(PARKED.c.model == model.name, PARKED.c.stream.in_(streams))
            )
            parked = new.execute(select(PARKED)).all()
            put(db, PARKED, [tuple(row) for row in parked if row.stream in streams])

    def standing(self) -> Standing:
        """Return how far the log is folded."""
        with self.writing() as db:
            return standing(db)

    def fits(self, db: Connection) -> bool:
        """Say whether what a connection sees has the shape of these read models."""
        if not inspect(db).has_table(PROGRESS.name):
            return False
        return db.scalar(select(PROGRESS.c.signature)) == self._signature()

    def parked(self) -> list[Parked]:
        """Return every stream that a read model cannot fold on."""
        with self.writing() as db:
            return parked(db)

    def _connection(self) -> Connection:
        if self._writer is None:
            self._writer = self._engine.connect()
        return self._writer

    def _open(self) -> int:
        with self.writing() as db:
            if self.fits(db):
                return standing(db).position
            if not inspect(db).get_table_names():
                self._create(db)
                return 0
        self.clear()
        return 0

    def _create(self, db: Connection) -> None:
        db.execute(CreateTable(PROGRESS))
        db.execute(CreateTable(PARKED))
        for model in self.models:
            for definition in model.definitions():
                db.execute(definition)
        put(db, PROGRESS, [(1, 0, "", self._signature())])

    def _signature(self) -> str:
        signatures = "\n".join(model.signature() for model in self.models)
        return hashlib.sha256(signatures.encode()).hexdigest()

    def _apply(self, events: Sequence[Recorded], fold: Fold) -> Applied:
        with self.writing() as db:
            at = standing(db).position
            fresh = [e for e in events if e.position > at]
            if not fresh:
                return Applied(at, ())
            if fresh[0].position != at + 1:
                raise CorruptLogError(position=at + 1, detail="it is not in the log")
            stopped = fold(db, self.models, fresh)
            newest = fresh[-1]
            digest = newest.header.payload_sha256
            if db.execute(_MOVE, {"at": at, "to": newest.position, "digest": digest}).rowcount != 1:
                raise CorruptLogError(position=at, detail="somebody else moves the views")
            return Applied(newest.position, stopped)


class _PoisonError(Exception):
    """A read model could not fold a batch."""


def standing(db: Connection) -> Standing:
    """Return how far the log is folded in the views that a connection sees."""
    row = db.execute(_STANDING).one()
    return Standing(row.position, row.newest)


def parked(db: Connection) -> list[Parked]:
    """Return every stream that a read model cannot fold on."""
    return [Parked(**row) for row in db.execute(_PARKED).mappings()]


_STANDING = select(PROGRESS.c.position, PROGRESS.c.newest)
_PARKED = select(PARKED).order_by(PARKED.c.model, PARKED.c.stream)
_MOVE = (
    update(PROGRESS)
    .where(PROGRESS.c.position == bindparam("at"))
    .values(position=bindparam("to"), newest=bindparam("digest"))
)


def _all_at_once(
    db: Connection, models: Sequence[ReadModel], events: Sequence[Recorded]
) -> tuple[Parked, ...]:
    for model, mine in _shares(db, models, events):
        try:
            model.apply(db, mine)
        except _ENVIRONMENTAL:
            raise
        except Exception as error:
            raise _PoisonError from error
    return ()


def _one_by_one(
    db: Connection, models: Sequence[ReadModel], events: Sequence[Recorded]
) -> tuple[Parked, ...]:
    stopped: dict[tuple[str, str], Parked] = {}
    for model, mine in _shares(db, models, events):
        for recorded in mine:
            stream = recorded.header.stream
            if (model.name, stream) in stopped:
                continue
            try:
                with db.begin_nested():
                    model.apply(db, [recorded])
            except _ENVIRONMENTAL:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, one stream stands still
                detail = f"{type(error).__name__}: {error}"[:_MAX_ERROR]
                one = Parked(model.name, stream, recorded.position, detail)
                stopped[model.name, stream] = one
                put(db, PARKED, [msgspec.structs.astuple(one)])
    return tuple(stopped.values())


def _shares(
    db: Connection, models: Sequence[ReadModel], events: Sequence[Recorded]
) -> Iterator[tuple[ReadModel, list[Recorded]]]:
    """Return what each read model reads of a batch, parked streams left out."""
    stopped = {(row.model, row.stream) for row in parked(db)}
    for model in models:
        mine = [e for e in events if e.header.stream.startswith(model.streams)]
        if stopped:
            mine = [e for e in mine if (model.name, e.header.stream) not in stopped]
        if mine:
            yield model, mine


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
