"""Rows on PostgreSQL: columns go as arrays, and many new rows by COPY, on the driver's connection.

Both are part of the transaction that SQLAlchemy's connection is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    func,
    make_url,
    select,
    tuple_,
)
from sqlalchemy import cast as as_type
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.dialects.postgresql import TEXT as PLAIN
from sqlalchemy.sql import any_

from ..rows import STORAGES, Columns, Row, Statement
from .arrays import array, type_name

_DIALECT = make_url("postgresql+psycopg://").get_dialect()()
COPIED = 64
"""From so many new rows on, a COPY takes less than its two more round trips."""


class _Storage:
    def put(self, db: Connection, table: Table, rows: Sequence[Row]) -> None:
        _send(db, tuple(table.columns), rows, _upsert(table))

    def add(self, db: Connection, table: Table, rows: Sequence[Row]) -> None:
        if len(rows) < COPIED:
            _send(db, tuple(table.columns), rows, _from_arrays(table))
            return
        with driver(db).cursor() as cursor, cursor.copy(_copy(table)) as copy:
            for row in rows:
                copy.write_row(row)

    def amend(self, db: Connection, columns: Columns, rows: Sequence[Row]) -> None:
        _send(db, columns, rows, _update(columns))

    def ask(
        self, db: Connection, statement: Statement, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        if not isinstance(db.connection.driver_connection, psycopg.Connection):
            # The driver of the event loop is waited for by SQLAlchemy's greenlet alone.
            return db.execute(statement, values).all()
        return send(db, statement, values).fetchall()

    def do(self, db: Connection, statement: Statement, values: Mapping[str, Any]) -> None:
        send(db, statement, values)

    def among(self, key: Sequence[Column[Any]], keys: ColumnElement[str]) -> ColumnElement[bool]:
        each = func.json_array_elements(as_type(keys, JSON)).table_valued("value")
        parts = [each.c.value.op("->>")(n) for n in range(len(key))]
        if len(key) == 1:
            # An array is looked up in the index; a set would be joined with the whole table.
            names = func.pg_catalog.array_agg(parts[0], type_=ARRAY(PLAIN))
            return key[0] == any_(as_type(select(names).scalar_subquery(), ARRAY(PLAIN)))
        return tuple_(*key).in_(select(*parts))


STORAGES["postgresql"] = _Storage()


def driver(db: Connection) -> psycopg.Connection[Row]:
    """Return the driver's connection under SQLAlchemy's."""
    return cast("psycopg.Connection[Row]", db.connection.driver_connection)


def send(db: Connection, statement: Statement, values: Mapping[str, Any]) -> psycopg.Cursor[Row]:
    """Carry a statement out, past SQLAlchemy; amid a pipeline whoever reads the answer waits."""
    sql, constants = _spelled(statement)
    return driver(db).execute(sql, {**constants, **values}, prepare=True)


def _send(db: Connection, columns: Columns, rows: Sequence[Row], statement: Composed) -> None:
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [array(column, each) for column, each in zip(columns, values, strict=True)]
    driver(db).execute(statement, arrays, prepare=True)


@cache
def _spelled(statement: Statement) -> tuple[bytes, Mapping[str, Any]]:
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled).encode(), compiled.params


@cache
def _from_arrays(table: Table) -> Composed:
    return SQL("INSERT INTO {} ({}) SELECT * FROM unnest({})").format(
        Identifier(table.name), _names([c.name for c in table.columns]), _arrays(table.columns)
    )


@cache
def _upsert(table: Table) -> Composed:
    key = [c.name for c in table.primary_key]
    changed = [
        SQL("{0} = excluded.{0}").format(Identifier(c.name))
        for c in table.columns
        if not c.primary_key
    ]
    action = SQL("UPDATE SET ") + SQL(", ").join(changed) if changed else SQL("NOTHING")
    return _from_arrays(table) + SQL(" ON CONFLICT ({}) DO ").format(_names(key)) + action


@cache
def _update(columns: Columns) -> Composed:
    table = columns[0].table
    key = {c.name for c in table.primary_key}
    same = [SQL("old.{0} = new.{0}").format(Identifier(name)) for name in key]
    changed = [
        SQL("{0} = coalesce(new.{0}, old.{0})").format(Identifier(c.name))
        for c in columns
        if c.name not in key
    ]
    return SQL("UPDATE {} AS old SET {} FROM unnest({}) AS new ({}) WHERE {}").format(
        Identifier(str(table)),
        SQL(", ").join(changed),
        _arrays(columns),
        _names([c.name for c in columns]),
        SQL(" AND ").join(same),
    )


@cache
def _copy(table: Table) -> Composed:
    names = _names([column.name for column in table.columns])
    return SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), names)


def _arrays(columns: Iterable[Column[Any]]) -> Composed:
    return SQL(", ").join([SQL("%b::") + SQL(type_name(column)) for column in columns])


def _names(names: Sequence[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))
