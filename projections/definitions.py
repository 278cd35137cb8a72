"""definitions: every version of every pipeline and environment, and which is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    RowMapping,
    Select,
    Table,
    and_,
    select,
)

from ..domain.definition import Definition
from ..domain.environment import Environment
from ..domain.event import Header, Recorded
from .follower import TEXT, WHOLE, Page, ReadModel, Slice, browse, instant, micros, put, stale_since

Kind = Literal["environment", "pipeline"]

TABLE = Table(
    "definitions",
    MetaData(),
    Column("kind", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("version", WHOLE, primary_key=True),
    Column("document", TEXT, nullable=False),
    Column("defined_at", WHOLE, nullable=False),
    Column("defined_by", TEXT, nullable=False),
    Column("position", WHOLE, nullable=False),
)
IN_FORCE = Table(
    "definitions_in_force",
    MetaData(),
    Column("kind", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("version", WHOLE, nullable=False),
)
_C, _NEWEST = TABLE.c, IN_FORCE.c


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
    tables: ClassVar[tuple[Table, ...]] = (TABLE, IN_FORCE)
    streams: ClassVar[tuple[str, ...]] = ("environment:", "pipeline:")

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Add each new version, which takes the place of the one in force."""
        rows = [_row(recorded) for recorded in events if recorded.header.topic in _DEFINING]
        put(db, TABLE, rows)
        put(db, IN_FORCE, (row[:3] for row in rows))

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return every version of a name."""
        kind, _, name = header.stream.partition(":")
        return {one: (one.c.kind == kind) & (one.c.name == name) for one in self.tables}


def get(db: Connection, kind: Kind, name: str, version: int | None = None) -> Defined | None:
    """Return the definition in force, or that of a version; None where there is none."""
    shown = _IN_FORCE if version is None else _SHOWN.where(_C.version == version)
    row = db.execute(shown.where(_C.kind == kind, _C.name == name)).mappings().first()
    return _defined(row) if row else None


def listed(db: Connection, kind: Kind, page: Page) -> Slice[Defined]:
    """Return the definitions in force, by name."""
    return _slice(db, _IN_FORCE.where(_NEWEST.kind == kind), [_NEWEST.name], page)


def versions(db: Connection, kind: Kind, name: str, page: Page) -> Slice[Defined]:
    """Return every version of a name, oldest first."""
    return _slice(db, _SHOWN.where(_C.kind == kind, _C.name == name), [_C.version], page)


_DEFINING = {Environment.Defined.TOPIC, Definition.Defined.TOPIC}
_SHOWN = select(
    *[column for column in _C if column is not _C.kind],
    stale_since("definitions", _C.kind + ":" + _C.name),
)
_IN_FORCE = _SHOWN.join(IN_FORCE, and_(*[_C[column.name] == column for column in IN_FORCE.columns]))


def _row(recorded: Recorded) -> tuple[Any, ...]:
    header, event = recorded.header, recorded.event
    kind, _, name = header.stream.partition(":")
    if not isinstance(event, Environment.Defined | Definition.Defined):
        raise TypeError(event)
    document = msgspec.json.encode(event.document).decode()
    at = micros(header.occurred_at)
    return kind, name, header.stream_version, document, at, header.actor, recorded.position


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
