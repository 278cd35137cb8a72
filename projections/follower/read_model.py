"""The base of a read model: its tables, the streams it reads, and how events change its rows.

What was folded last is remembered, so that the next event of a stream asks for nothing: one
process alone moves the views, and as soon as it is not sure of that it forgets everything.

A read model is derived: a row holds nothing but what the events say. No reader's clock, no row
number and no batch boundary leaves a trace, so that two rebuilds give the same bytes, on whatever
engine.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Index, MetaData, Table, select
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from ...domain.event import Header, Recorded
from .rows import TEXT, WHOLE, ordered, warm

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

PARKED = Table(
    "parked",
    MetaData(),
    Column("model", TEXT, primary_key=True),
    Column("stream", TEXT, primary_key=True),
    Column("position", WHOLE, nullable=False),
    Column("error", TEXT, nullable=False),
)
"""Streams whose event could not be folded by a read model: it stands still there."""


class Memory:
    """What was folded last, by read model and key; the longest untouched is forgotten first."""

    def __init__(self, largest: int) -> None:
        self.place: tuple[int, str] | None = None
        """The position and the mark of the progress that it holds for, None for nothing."""
        self.is_calm = False
        """Whether no stream was parked there."""
        self._left = self._largest = largest
        self._kept: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()

    def recall(self, model: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return what is remembered of these keys."""
        found: dict[str, Any] = {}
        for key in keys:
            if kept := self._kept.get((model, key)):
                self._kept.move_to_end((model, key))
                found[key] = kept[0]
        return found

    def keep(self, model: str, key: str, folded: object, size: int) -> None:
        """Remember what was folded; `size` says how much room it takes."""
        self.drop(model, key)
        self._kept[model, key] = folded, size
        self._left -= size
        while self._left < 0:
            _, (_, size) = self._kept.popitem(last=False)
            self._left += size

    def drop(self, model: str, key: str) -> None:
        """Forget one."""
        if kept := self._kept.pop((model, key), None):
            self._left += kept[1]

    def forget(self) -> None:
        """Forget everything."""
        self.place, self.is_calm = None, False
        self._left = self._largest
        self._kept.clear()

    @contextmanager
    def lent(self, db: Connection) -> Generator[None]:
        """Let the read models that fold on a connection remember, and know what was."""
        # Of a connection that is lost meanwhile SQLAlchemy gives another, or none.
        info = db.info
        info[_MEMORY] = self
        try:
            yield
        finally:
            del info[_MEMORY]


_MEMORY = "shipslog.memory"


def memory_of(db: Connection) -> Memory:
    """Return what is remembered on a connection; of what may be taken back, nothing is."""
    memory: Memory | None = db.info.get(_MEMORY)
    return Memory(0) if memory is None else memory


class ReadModel(ABC):
    """Rows that are a fold of the log."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised when the same events shall give other rows: the views are then rebuilt."""
    tables: ClassVar[tuple[Table, ...]]
    streams: ClassVar[tuple[str, ...]]
    """How the names of the streams begin that it reads."""
    searched: ClassVar[tuple[Table, ...]] = ()
    """Tables whose indexes serve readers alone: a fold of the whole log may make them last."""
    is_by_stream: ClassVar[bool] = True
    """Whether each row depends on one stream alone."""

    @abstractmethod
    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Change the rows by events of its streams, in order; whatever it raises is poison."""

    def warm(self, db: Connection) -> None:
        """Use each statement of `apply` once, and change nothing."""
        warm(db, self.tables)

    @abstractmethod
    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return which rows depend on the stream of this header."""

    def belongs(self, other: Header, header: Header) -> bool:
        """Say whether those rows depend on this other event too."""
        return other.stream == header.stream

    def signature(self) -> str:
        """Return a digest of what the rows look like and mean, the same for every engine."""
        ddl = [str(one.compile(dialect=dialect())) for one in self.definitions()]
        return hashlib.sha256("\n".join((self.name, str(self.version), *ddl)).encode()).hexdigest()

    def definitions(self) -> Iterator[CreateTable | CreateIndex]:
        """Return the statements that make the tables."""
        for table in self.tables:
            yield CreateTable(table)
            yield from map(CreateIndex, _indexes(table))

    def last_definitions(self) -> Iterator[CreateIndex]:
        """Return those of them that can be carried out when the rows are there."""
        for table in self.searched:
            for index in _indexes(table):
                yield CreateIndex(index, if_not_exists=True)

    def fingerprint(self, db: Connection) -> str:
        """Return the SHA-256 over every row of every table, in the order of the primary keys."""
        digest = hashlib.sha256()
        for table in self.tables:
            digest.update(table.name.encode())
            for row in ordered(db, table):
                digest.update(msgspec.json.encode(tuple(row)))
        return digest.hexdigest()


def _indexes(table: Table) -> Sequence[Index]:
    return sorted(table.indexes, key=lambda index: str(index.name))


def stale_since(model: str, stream: ColumnElement[str]) -> ColumnElement[int | None]:
    """Return the column that says at which position a row's stream was parked, or null."""
    parked = select(PARKED.c.position).where(PARKED.c.model == model, PARKED.c.stream == stream)
    return parked.scalar_subquery().label("stale_since")


def micros(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970: it sorts as it is."""
    return (at - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    """Return the instant of so many microseconds since 1970."""
    return _EPOCH + microseconds * _MICROSECOND
