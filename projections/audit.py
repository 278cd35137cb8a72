"""audit: who did what, when and where, one row an event, read from the headers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    RowMapping,
    Select,
    Table,
    select,
)

from ..domain.event import Header, Recorded
from .follower import TEXT, WHOLE, Page, ReadModel, Slice, add, browse, instant, micros

TABLE = Table(
    "audit",
    MetaData(),
    Column("position", WHOLE, primary_key=True, autoincrement=False),
    Column("recorded_at", WHOLE, nullable=False),
    Column("occurred_at", WHOLE, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("topic", TEXT, nullable=False),
    Column("stream", TEXT, nullable=False),
    Column("environment", TEXT),
    Column("service", TEXT),
    Column("deployment", TEXT),
    Column("command", TEXT, nullable=False),
)
_C = TABLE.c
Index("audit_recorded", _C.recorded_at)
Index("audit_actor", _C.actor)
Index("audit_kind", _C.kind)
Index("audit_topic", _C.topic)
Index("audit_target", _C.environment, _C.service)
Index("audit_deployment", _C.deployment)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event as an auditor lists it; `actor` is a subject's id."""

    position: int
    recorded_at: datetime
    occurred_at: datetime
    actor: str
    topic: str
    stream: str
    environment: str | None
    service: str | None
    deployment: str | None
    command: str
    """Id of the command that it came from."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are listed; every text is taken literally, both ends are included."""

    actor: str | None = None
    topic: str | None = None
    """A topic, or with a dot at its end every topic that begins so: `deployment.`."""
    stream: str | None = None
    environment: str | None = None
    service: str | None = None
    deployment: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Audit(ReadModel):
    """One row an event."""

    name: ClassVar[str] = "audit"
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = (TABLE,)
    streams: ClassVar[tuple[str, ...]] = ("",)
    searched: ClassVar[tuple[Table, ...]] = (TABLE,)

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Add a row for each event."""
        add(db, TABLE, map(_row, events))

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return the rows of a stream."""
        return {TABLE: _C.stream == header.stream}


def listed(db: Connection, filters: Filters, page: Page) -> Slice[Entry]:
    """Return what happened, newest first."""
    rows = browse(db, matching(filters), [_C.position], page, newest_first=True)
    return Slice([_entry(row) for row in rows.items], rows.next)


def positions(db: Connection, filters: Filters, *, after: int, limit: int) -> list[int]:
    """Return at most `limit` positions above `after` of events that match, in order."""
    statement = select(_C.position).where(_C.position > after, *_conditions(filters))
    return list(db.scalars(statement.order_by(_C.position).limit(limit)))


def matching(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Return the statement that selects the rows that match."""
    return select(TABLE).where(*_conditions(filters))


def _conditions(filters: Filters) -> Iterator[ColumnElement[bool]]:
    for name in ("actor", "environment", "service", "deployment"):
        if (value := getattr(filters, name)) is not None:
            yield _C[name] == value
    if filters.topic is not None:
        kind, dot, rest = filters.topic.partition(".")
        yield _C.kind == kind if dot and not rest else _C.topic == filters.topic
    if filters.stream is not None:
        yield from _is_stream(filters.stream)
    # `recorded_at` never falls, so a time is a position: two looks at its index, and no sorting.
    if filters.since is not None:
        first = select(_C.position).where(_C.recorded_at >= micros(filters.since))
        yield _C.position >= first.order_by(_C.recorded_at, _C.position).limit(1).scalar_subquery()
    if filters.until is not None:
        last = select(_C.position).where(_C.recorded_at <= micros(filters.until))
        newest = last.order_by(_C.recorded_at.desc(), _C.position.desc()).limit(1)
        yield _C.position <= newest.scalar_subquery()


def _is_stream(stream: str) -> Iterator[ColumnElement[bool]]:
    yield _C.stream == stream
    # The stream has no index of its own; what follows from its name does.
    kind, _, name = stream.partition(":")
    if kind == "deployment":
        yield _C.deployment == name
    elif kind in {"environment", "target"}:
        yield _C.environment == name.partition("/")[0]
    else:
        yield _C.kind == kind


def _row(recorded: Recorded) -> tuple[Any, ...]:
    header = recorded.header
    return (
        recorded.position,
        micros(header.recorded_at),
        micros(header.occurred_at),
        header.actor,
        header.topic.partition(".")[0],
        header.topic,
        header.stream,
        header.environment,
        header.service,
        header.deployment,
        header.command.id,
    )


def _entry(row: RowMapping) -> Entry:
    instants = {name: instant(row[name]) for name in ("recorded_at", "occurred_at")}
    fields: dict[str, Any] = {name: row[name] for name in Entry.__struct_fields__}
    fields.update(instants)
    return Entry(**fields)
