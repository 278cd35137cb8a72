"""The base of a read model: its tables, the streams it reads, and how events change its rows.

A read model is derived: a row holds nothing but what the events say. No reader's clock, no row
number and no batch boundary leaves a trace, so that two rebuilds give the same bytes.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Integer, MetaData, Table, Text, select
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.schema import CreateIndex, CreateTable

from ...domain.event import Header, Recorded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

PARKED = Table(
    "parked",
    MetaData(),
    Column("model", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("error", Text, nullable=False),
)
"""Streams whose event could not be folded by a read model: it stands still there."""


class ReadModel(ABC):
    """Rows that are a fold of the log."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised when the same events shall give other rows: the views are then rebuilt."""
    tables: ClassVar[tuple[Table, ...]]
    streams: ClassVar[tuple[str, ...]]
    """How the names of the streams begin that it reads."""
    is_by_stream: ClassVar[bool] = True
    """Whether each row depends on one stream alone."""

    @abstractmethod
    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Change the rows by events of its streams, in order; whatever it raises is poison."""

    @abstractmethod
    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return which rows depend on the stream of this header."""

    def belongs(self, other: Header, header: Header) -> bool:
        """Say whether those rows depend on this other event too."""
        return other.stream == header.stream

    def signature(self) -> str:
        """Return a digest of what the rows look like and mean."""
        ddl = [str(one.compile(dialect=dialect())) for one in self.definitions()]
        return hashlib.sha256("\n".join((self.name, str(self.version), *ddl)).encode()).hexdigest()

    def definitions(self) -> Iterator[CreateTable | CreateIndex]:
        """Return the statements that make the tables."""
        for table in self.tables:
            yield CreateTable(table)
            yield from (CreateIndex(i) for i in sorted(table.indexes, key=lambda i: str(i.name)))

    def fingerprint(self, db: Connection) -> str:
        """Return the SHA-256 over every row of every table, in the order of the primary keys."""
        digest = hashlib.sha256()
        for table in self.tables:
            digest.update(table.name.encode())
            for row in ordered(db, table):
                digest.update(msgspec.json.encode(tuple(row)))
        return digest.hexdigest()


def ordered(db: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Return every row, in the order of the primary key."""
    return iter(db.execute(select(table).order_by(*table.primary_key)))


def rows_differ(
    one: Connection, other: Connection, table: Table
) -> Iterator[tuple[tuple[Any, ...], Sequence[Any] | None, Sequence[Any] | None]]:
    """Return the key and both rows (None: there is none) wherever two tables are not the same."""
    places = [list(table.columns).index(column) for column in table.primary_key]
    keyed = [_keyed(ordered(db, table), places) for db in (one, other)]
    left, right = (next(rows, None) for rows in keyed)
    while left or right:
        if left and (right is None or left[0] < right[0]):
            yield left[0], left[1], None
            left = next(keyed[0], None)
        elif right and (left is None or right[0] < left[0]):
            yield right[0], None, right[1]
            right = next(keyed[1], None)
        elif left and right:
            if left[1] != right[1]:
                yield left[0], left[1], right[1]
            left, right = (next(rows, None) for rows in keyed)


def put(db: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert whole rows, in the order of the table's columns; those known by key are replaced."""
    if rows := list(rows):
        db.exec_driver_sql(_upsert(table), rows)


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


@cache
def _upsert(table: Table) -> str:
    statement = insert(table)
    changed = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    keyed = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
    return str(keyed.compile(dialect=dialect()))


def _keyed(
    rows: Iterator[Sequence[Any]], places: Sequence[int]
) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
    return ((tuple(row[place] for place in places), row) for row in rows)
