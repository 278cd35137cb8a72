"""Rows as they are stored, replaced, looked up by key and compared, on either engine.

What differs between engines is written down by each of them (`sqlite.py`, `postgres/rows.py`) and
found here by the name of the dialect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    Select,
    Table,
    Text,
    TypeDecorator,
    UpdateBase,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

Row = tuple[Any, ...]
Columns = tuple[Column[Any], ...]
Statement = Select[*tuple[Any, ...]] | UpdateBase


class _Text(TypeDecorator[str]):
    """Sorted by its bytes; what is asked for may hold a NUL, which nothing stored does."""

    impl = Text
    cache_ok = True

    @property
    def python_type(self) -> type[str]:
        """The type of its values."""
        return str

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the type as an engine has it."""
        return postgresql.TEXT(collation="C") if _is_postgres(dialect) else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return a value as an engine takes it."""
        return value.replace("\0", _NEVER) if value and _is_postgres(dialect) else value


WHOLE = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number: a position, microseconds."""
TEXT = _Text()
"""A text, in the order of its bytes."""

_NEVER = "\uffff"
KEYS = "keys"
"""The parameter of a statement with `among`; its value comes from `encoded`."""


def storable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL holds in none.

    The door lets no NUL in; an event that has one all the same is folded, and the same everywhere.
    """
    return text.replace("\0", "\ufffd")


class Storage(Protocol):
    """How one engine does it."""

    def put(self, db: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, of which none is known twice by key; replace those known."""
        ...

    def add(self, db: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows that are new."""
        ...

    def amend(self, db: Connection, columns: Columns, rows: Sequence[Row]) -> None:
        """Change columns of rows, those of the key first; None leaves one as it is."""
        ...

    def ask(
        self, db: Connection, statement: Statement, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """Return what a statement finds."""
        ...

    def do(self, db: Connection, statement: Statement, values: Mapping[str, Any]) -> None:
        """Carry a statement out that finds nothing."""
        ...

    def among(self, key: Sequence[Column[Any]], keys: ColumnElement[str]) -> ColumnElement[bool]:
        """Say of a row whether its key is one of those, given as a JSON array of arrays."""
        ...


STORAGES: dict[str, Storage] = {}
"""By the name of a dialect; each engine adds itself."""


def put(db: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert whole rows, in the order of the table's columns; those known by key are replaced."""
    places = _key_places(table)
    if last := {tuple([row[place] for place in places]): row for row in rows}:
        STORAGES[db.dialect.name].put(db, table, list(last.values()))


def add(db: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert whole rows whose keys nobody knows."""
    if rows := list(rows):
        STORAGES[db.dialect.name].add(db, table, rows)


def amend(db: Connection, columns: Columns, rows: Iterable[Row]) -> None:
    """Change some columns of rows that are found by key, each once; None leaves one as it is.

    The first columns are the key. A row that nobody knows is not added.
    """
    if rows := list(rows):
        STORAGES[db.dialect.name].amend(db, columns, rows)


def warm(db: Connection, tables: Iterable[Table]) -> None:
    """Store no rows, by every statement that stores some."""
    storage = STORAGES[db.dialect.name]
    for table in tables:
        storage.put(db, table, [])
        storage.add(db, table, [])


def ask(db: Connection, statement: Statement, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """Return what a statement finds, past SQLAlchemy, whose own way takes longer than the database.

    Each statement is spelled once and never forgotten, so make it once. Its values are texts
    without a NUL and whole numbers.
    """
    return STORAGES[db.dialect.name].ask(db, statement, values)


def do(db: Connection, statement: Statement, values: Mapping[str, Any]) -> None:
    """Carry a statement out that finds nothing, in the same way."""
    STORAGES[db.dialect.name].do(db, statement, values)


def among(dialect: str, *key: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that a row's key is one of the parameter `KEYS`."""
    return STORAGES[dialect].among(key, bindparam(KEYS, type_=Text))


def encoded(keys: Collection[str] | Collection[tuple[str, ...]]) -> dict[str, str]:
    """Return the parameter of a statement with `among`."""
    whole = [key if isinstance(key, tuple) else (key,) for key in keys]
    whole = [key for key in whole if "\0" not in "".join(key)]
    return {KEYS: msgspec.json.encode(whole).decode()}


def with_keys(
    db: Connection,
    statement: Select[*tuple[Any, ...]],
    key: Sequence[Column[Any]],
    keys: Collection[str] | Collection[tuple[str, ...]],
) -> Sequence[Sequence[Any]]:
    """Return what a statement finds of these keys, in any order, in one query."""
    if not keys:
        return []
    asked = _asked(statement, tuple(key), db.dialect.name)
    return ask(db, asked, encoded(keys))


def ordered(db: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """Return every row, in the order of the primary key."""
    return iter(db.execute(select(table).order_by(*table.primary_key)))


def rows_differ(
    one: Connection, other: Connection, table: Table
) -> Iterator[tuple[Row, Sequence[Any] | None, Sequence[Any] | None]]:
    """Return the key and both rows (None: there is none) wherever two tables are not the same."""
    places = _key_places(table)
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


def _is_postgres(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


@cache
def _key_places(table: Table) -> Sequence[int]:
    return [list(table.columns).index(column) for column in table.primary_key]


@cache
def _asked(
    statement: Select[*tuple[Any, ...]], key: tuple[Column[Any], ...], dialect: str
) -> Select[*tuple[Any, ...]]:
    return statement.where(among(dialect, *key))


def _keyed(
    rows: Iterator[Sequence[Any]], places: Sequence[int]
) -> Iterator[tuple[Row, Sequence[Any]]]:
    return ((tuple(row[place] for place in places), row) for row in rows)
