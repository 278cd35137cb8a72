"""The deployments' table: one row each, what it is searched by beside the document."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    Table,
    bindparam,
    func,
    literal,
    select,
)

from ...domain.deployment import Status
from ...domain.event import Header, Recorded
from ..follower import (
    TEXT,
    WHOLE,
    Page,
    ReadModel,
    Row,
    Slice,
    browse,
    memory_of,
    micros,
    put,
    stale_since,
    with_keys,
)
from .document import Outline, StatusDocument
from .life import Life

TABLE = Table(
    "deployments",
    MetaData(),
    Column("id", TEXT, primary_key=True),
    Column("requested_position", WHOLE, nullable=False),
    Column("environment", TEXT, nullable=False),
    Column("service", TEXT, nullable=False),
    Column("pipeline", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("requested_at", WHOLE, nullable=False),
    Column("position", WHOLE, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("document", TEXT, nullable=False),
    postgresql_with={"fillfactor": 80},
)
_C = TABLE.c
Index("deployments_newest", _C.requested_position, unique=True)
Index("deployments_status", _C.status, _C.requested_position)
Index("deployments_target", _C.environment, _C.service, _C.requested_position)
Index("deployments_service", _C.service, _C.requested_position)
Index("deployments_pipeline", _C.pipeline, _C.requested_position)
Index("deployments_actor", _C.actor, _C.requested_position)

_DOCUMENTS = msgspec.json.Decoder(StatusDocument)
_OUTLINES = msgspec.json.Decoder(Outline)
_STATUSES = frozenset(status.value for status in Status)


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployments are listed; every text is taken literally, both instants are included."""

    environment: str | None = None
    service: str | None = None
    pipeline: str | None = None
    status: str | None = None
    actor: str | None = None
    """A subject's id."""
    since: datetime | None = None
    until: datetime | None = None


class Deployments(ReadModel):
    """One row a deployment."""

    name: ClassVar[str] = "deployments"
    version: ClassVar[int] = 2
    tables: ClassVar[tuple[Table, ...]] = (TABLE,)
    streams: ClassVar[tuple[str, ...]] = ("deployment:",)

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Fold events into the documents."""
        memory = memory_of(db)
        older = {_id(e.header) for e in events if e.header.stream_version > 1}
        known = memory.recall(self.name, older)
        known |= _load(db, older - known.keys())
        lives: dict[str, Life] = {}
        for recorded in events:
            one = _id(recorded.header)
            if (life := lives.get(one)) is None:
                lives[one] = life = Life(known.get(one))
            life.add(recorded)
        rows = [_row(life.document()) for life in lives.values()]
        put(db, TABLE, [row for _, row in rows])
        for document, row in rows:
            if document.status.is_final:
                memory.drop(self.name, document.id)
            else:
                memory.keep(self.name, document.id, document, len(row[-1]))

    def warm(self, db: Connection) -> None:
        """Look up, too, what nobody is called."""
        super().warm(db)
        _load(db, [""])

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return the row of a deployment's stream."""
        return {TABLE: _C.id == _id(header)}


def get(db: Connection, deployment: str) -> StatusDocument | None:
    """Return a deployment's document, or None where there is none."""
    row = db.execute(_ONE, {"id": deployment}).first()
    return _document(row) if row else None


def outline(row: Sequence[Any]) -> StatusDocument:
    """Return the outline of a document, from the first columns of `SHOWN`."""
    document = _OUTLINES.decode(row[0])
    return document if row[2] is None else msgspec.structs.replace(document, stale_since=row[2])


def listed(db: Connection, filters: Filters, page: Page) -> Slice[StatusDocument]:
    """Return documents, newest request first."""
    statement = SHOWN
    for name in ("environment", "service", "pipeline", "actor"):
        if (value := getattr(filters, name)) is not None:
            statement = statement.where(_C[name] == value)
    if filters.status is not None:
        # In the statement itself: by how many have it, and not by an average, an index is chosen.
        # With a parameter PostgreSQL looked for the few that run through all that ever ran.
        in_words = filters.status in _STATUSES
        status = literal(filters.status, TEXT, literal_execute=in_words)
        statement = statement.where(_C.status == status)
    if filters.since is not None:
        statement = statement.where(_C.requested_at >= micros(filters.since))
    if filters.until is not None:
        statement = statement.where(_C.requested_at <= micros(filters.until))
    rows = browse(db, statement, [_C.requested_position], page, newest_first=True)
    return Slice([_document(tuple(row.values())) for row in rows.items], rows.next)


def counted(db: Connection) -> dict[str, int]:
    """Return how many deployments stand so, by status."""
    rows = db.execute(select(_C.status, func.count()).group_by(_C.status))
    return {row[0]: row[1] for row in rows}


SHOWN = select(
    _C.document, _C.requested_position, stale_since("deployments", literal("deployment:") + _C.id)
)
"""What is shown of a deployment: its document, its first position, since when it is stale."""
_STORED = select(_C.id, _C.document)
_ONE = SHOWN.where(_C.id == bindparam("id"))


def _id(header: Header) -> str:
    return header.stream.removeprefix("deployment:")


def _load(db: Connection, deployments: Collection[str]) -> dict[str, StatusDocument]:
    rows = with_keys(db, _STORED, (_C.id,), deployments)
    return {deployment: _DOCUMENTS.decode(document) for deployment, document in rows}


def _row(document: StatusDocument) -> tuple[StatusDocument, Row]:
    return document, (
        document.id,
        document.requested_position,
        document.environment,
        document.service,
        document.pipeline,
        document.status.value,
        document.requested_by,
        micros(document.requested_at),
        document.position,
        document.status.is_final,
        msgspec.json.encode(document).decode(),
    )


def _document(row: Sequence[Any]) -> StatusDocument:
    text, _, stale = row
    document = _DOCUMENTS.decode(text)
    return document if stale is None else msgspec.structs.replace(document, stale_since=stale)
