"""definitions: every version of every pipeline and environment, and which is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    RowMapping,
    Select,
    Table,
    Text,
    select,
)

from ..domain.definition import Definition
from ..domain.environment import Environment
from ..domain.event import Header, Recorded
from .follower import Page, ReadModel, Slice, browse, instant, micros, put, stale_since

Kind = Literal["environment", "pipeline"]

TABLE = Table(
    "definitions",
    MetaData(),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("is_newest", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Column("defined_at", Integer, nullable=False),
    Column("defined_by", Text, nullable=False),
    Column("position", Integer, nullable=False),
)
_C = TABLE.c
Index("definitions_newest", _C.kind, _C.name, sqlite_where=_C.is_newest)

_SUPERSEDE = "UPDATE definitions SET is_newest = 0 WHERE kind = ? AND name = ? AND is_newest = 1"


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document; `defined_by` is a subject's id until it is shown."""

    name: str
    version: int
    """Stream version of the definition: the ETag, and for pipelines the number that plans name."""
    document: dict[str, Any]
    defined_at: datetime
    defined_by: str | None
    position: int
    stale_since: int | None = None


class Definitions(ReadModel):
    """One row a version."""

    name: ClassVar[str] = "definitions"
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = (TABLE,)
    streams: ClassVar[tuple[str, ...]] = ("environment:", "pipeline:")

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Add each new version; the one before it is no more in force."""
        for recorded in events:
            if recorded.header.topic in _DEFINING:
                kind, _, name = recorded.header.stream.partition(":")
                db.exec_driver_sql(_SUPERSEDE, (kind, name))
                put(db, TABLE, [_row(kind, name, recorded)])

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return every version of a name."""
        kind, _, name = header.stream.partition(":")
        return {TABLE: (_C.kind == kind) & (_C.name == name)}


def get(db: Connection, kind: Kind, name: str, version: int | None = None) -> Defined | None:
    """Return the definition in force, or that of a version; None where there is none."""
    which = _C.is_newest if version is None else _C.version == version
    row = db.execute(_SHOWN.where(_C.kind == kind, _C.name == name, which)).mappings().first()
    return _defined(row) if row else None


def listed(db: Connection, kind: Kind, page: Page) -> Slice[Defined]:
    """Return the definitions in force, by name."""
    return _slice(db, _SHOWN.where(_C.kind == kind, _C.is_newest), [_C.name], page)


def versions(db: Connection, kind: Kind, name: str, page: Page) -> Slice[Defined]:
    """Return every version of a name, oldest first."""
    return _slice(db, _SHOWN.where(_C.kind == kind, _C.name == name), [_C.version], page)


_DEFINING = {Environment.Defined.TOPIC, Definition.Defined.TOPIC}
_SHOWN = select(
    *[column for column in _C if column not in {_C.kind, _C.is_newest}],
    stale_since("definitions", _C.kind + ":" + _C.name),
)


def _row(kind: str, name: str, recorded: Recorded) -> tuple[Any, ...]:
    header, event = recorded.header, recorded.event
    if not isinstance(event, Environment.Defined | Definition.Defined):
        raise TypeError(event)
    document = msgspec.json.encode(event.document).decode()
    at = micros(header.occurred_at)
    return kind, name, header.stream_version, True, document, at, header.actor, recorded.position


def _slice(
    db: Connection, statement: Select[*tuple[Any, ...]], order: Sequence[Column[Any]], page: Page
) -> Slice[Defined]:
    rows = browse(db, statement, order, page)
    return Slice([_defined(row) for row in rows.items], rows.next)


def _defined(row: RowMapping) -> Defined:
    document = msgspec.json.decode(row["document"])
    defined_at = instant(row["defined_at"])
    fields: dict[str, Any] = {**row, "document": document, "defined_at": defined_at}
    return Defined(**fields)
