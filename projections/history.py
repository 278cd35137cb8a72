"""history: the newest deployments of each target, as many as its environment keeps.

Which are kept depends on the order of the events alone: a change of `history_limit` applies at
its position, and what was trimmed before does not come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    func,
    literal,
    select,
)

from ..domain.deployment import ENDINGS, Deployment, Status
from ..domain.environment import Environment
from ..domain.event import Header, Personal, Recorded, Sealed
from .follower import Page, ReadModel, Slice, browse, instant, micros, put, stale_since

DEFAULT_LIMIT = 50
"""How many are kept where the environment's document does not say it."""

TABLE = Table(
    "history",
    MetaData(),
    Column("deployment", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text),
    Column("requested_at", Integer, nullable=False),
    Column("completed_at", Integer),
)
LIMITS = Table(
    "history_limits",
    MetaData(),
    Column("environment", Text, primary_key=True),
    Column("kept", Integer, nullable=False),
)
_C = TABLE.c
Index("history_target", _C.environment, _C.service, _C.position, unique=True)

_TRIM = """
DELETE FROM history WHERE environment = ? AND service = ? AND position <= (
  SELECT position FROM history WHERE environment = ? AND service = ?
  ORDER BY position DESC LIMIT 1 OFFSET coalesce(
    (SELECT kept FROM history_limits WHERE environment = ?), ?))
"""
_CHANGE = (
    "UPDATE history SET status = ?, completed_at = coalesce(?, completed_at) WHERE deployment = ?"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment in the history of its target; what is personal stays sealed until shown."""

    deployment: str
    version: str
    status: Status
    requested_by: str | None
    reason: Personal | None
    requested_at: datetime
    completed_at: datetime | None
    stale_since: int | None = None


class History(ReadModel):
    """One row a deployment, trimmed to the newest of each target."""

    name: ClassVar[str] = "history"
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = (TABLE, LIMITS)
    streams: ClassVar[tuple[str, ...]] = ("deployment:", "environment:")
    is_by_stream: ClassVar[bool] = False

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Add, change and trim; each change of a limit ends what is done at once."""
        part: list[Recorded] = []
        for recorded in events:
            if recorded.header.topic == Environment.Defined.TOPIC:
                _write(db, part)
                part = []
                _limit(db, recorded)
            elif recorded.header.stream.startswith("deployment:"):
                part.append(recorded)
        _write(db, part)

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return the history and the limit of the stream's whole environment."""
        return {
            TABLE: _C.environment == header.environment,
            LIMITS: LIMITS.c.environment == header.environment,
        }

    def belongs(self, other: Header, header: Header) -> bool:
        """Say whether an event adds to those histories or limits them."""
        return other.environment == header.environment and other.stream.startswith(self.streams)


def listed(db: Connection, environment: str, service: str, page: Page) -> Slice[Entry]:
    """Return the history of a target, newest request first."""
    statement = _SHOWN.where(_C.environment == environment, _C.service == service)
    rows = browse(db, statement, [_C.position], page, newest_first=True)
    return Slice([_entry(row) for row in rows.items], rows.next)


_SHOWN = select(
    *[column for column in _C if column not in {_C.environment, _C.service}],
    func.coalesce(
        stale_since("history", literal("deployment:") + _C.deployment),
        stale_since("history", literal("environment:") + _C.environment),
    ).label("stale_since"),
)


def _write(db: Connection, events: Sequence[Recorded]) -> None:
    new: dict[str, tuple[Any, ...]] = {}
    changes: list[tuple[str, int | None, str]] = []
    for recorded in events:
        deployment = recorded.header.stream.removeprefix("deployment:")
        if recorded.header.topic == Deployment.Requested.TOPIC:
            new[deployment] = _requested(deployment, recorded)
        elif status := _STATUS_AFTER.get(recorded.header.topic):
            at = micros(recorded.header.occurred_at) if status.is_final else None
            changes.append((status.value, at, deployment))
    put(db, TABLE, new.values())
    if changes:
        db.exec_driver_sql(_CHANGE, changes)
    _trim(db, sorted({(row[1], row[2]) for row in new.values()}))


def _requested(deployment: str, recorded: Recorded) -> tuple[Any, ...]:
    event, header = recorded.event, recorded.header
    if not isinstance(event, Deployment.Requested):
        raise TypeError(event)
    return (
        deployment,
        event.plan.environment,
        event.plan.service,
        recorded.position,
        event.plan.version,
        Status.REQUESTED.value,
        header.actor,
        msgspec.json.encode(event.reason).decode() if event.reason else None,
        micros(header.occurred_at),
        None,
    )


_STATUS_AFTER = {
    Deployment.Queued.TOPIC: Status.QUEUED,
    Deployment.Started.TOPIC: Status.RUNNING,
    Deployment.RollbackStarted.TOPIC: Status.ROLLING_BACK,
    **{ending.TOPIC: ending.status for ending in ENDINGS.values()},
}


def _limit(db: Connection, recorded: Recorded) -> None:
    event = recorded.event
    if not isinstance(event, Environment.Defined):
        raise TypeError(event)
    environment = recorded.header.stream.removeprefix("environment:")
    kept = int(event.document.get("history_limit", DEFAULT_LIMIT))
    put(db, LIMITS, [(environment, kept)])
    services = select(_C.service).distinct().where(_C.environment == environment)
    _trim(db, [(environment, service) for service in db.scalars(services)])


def _trim(db: Connection, targets: Iterable[tuple[str, str]]) -> None:
    if rows := [(*one, *one, one[0], DEFAULT_LIMIT) for one in targets]:
        db.exec_driver_sql(_TRIM, rows)


def _entry(row: RowMapping) -> Entry:
    completed_at = row["completed_at"]
    return Entry(
        deployment=row["deployment"],
        version=row["version"],
        status=Status(row["status"]),
        requested_by=row["requested_by"],
        reason=msgspec.json.decode(row["reason"], type=Sealed) if row["reason"] else None,
        requested_at=instant(row["requested_at"]),
        completed_at=None if completed_at is None else instant(completed_at),
        stale_since=row["stale_since"],
    )
