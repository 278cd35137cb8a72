"""history: the newest deployments of each target, as many as its environment keeps.

Which are kept depends on the order of the events alone: a change of `history_limit` applies at
its position, and what was trimmed before does not come back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import ClassVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Index,
    MetaData,
    RowMapping,
    Table,
    bindparam,
    delete,
    func,
    literal,
    select,
)

from ..domain.deployment import ENDINGS, Deployment, Status
from ..domain.environment import Environment
from ..domain.event import Header, Personal, Recorded, Sealed
from .follower import (
    TEXT,
    WHOLE,
    Page,
    ReadModel,
    Row,
    Slice,
    amend,
    among,
    ask,
    browse,
    do,
    encoded,
    instant,
    micros,
    put,
    stale_since,
    storable,
)

DEFAULT_LIMIT = 50
"""How many are kept where the environment's document does not say it."""

TABLE = Table(
    "history",
    MetaData(),
    Column("deployment", TEXT, primary_key=True),
    Column("environment", TEXT, nullable=False),
    Column("service", TEXT, nullable=False),
    Column("position", WHOLE, nullable=False),
    Column("version", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("requested_by", TEXT, nullable=False),
    Column("reason", TEXT),
    Column("requested_at", WHOLE, nullable=False),
    Column("completed_at", WHOLE),
)
LIMITS = Table(
    "history_limits",
    MetaData(),
    Column("environment", TEXT, primary_key=True),
    Column("kept", WHOLE, nullable=False),
)
_C = TABLE.c
Index("history_target", _C.environment, _C.service, _C.position, unique=True)


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

    def warm(self, db: Connection) -> None:
        """Change, look up and trim, too, what nobody is called."""
        super().warm(db)
        ask(db, _SERVICES, {"its_environment": ""})
        amend(db, _CHANGING, [("", "", 0)])
        _trim(db, [("", "")])

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
    new: dict[str, Row] = {}
    known: dict[str, tuple[str, int | None]] = {}
    for recorded in events:
        topic = recorded.header.topic
        if topic not in _STATUS_AFTER:
            continue
        deployment = _id(recorded)
        if topic == Deployment.Requested.TOPIC:
            new[deployment] = _requested(recorded)
        elif deployment in new:
            new[deployment] = _changed(new[deployment], recorded)
        else:
            _, completed_at = known.get(deployment, (None, None))
            known[deployment] = _after(recorded, completed_at)
    put(db, TABLE, new.values())
    # What was trimmed before does not come back.
    amend(db, _CHANGING, [(deployment, *changes) for deployment, changes in known.items()])
    _trim(db, {(row[1], row[2]) for row in new.values()})


_CHANGING = (_C.deployment, _C.status, _C.completed_at)


def _after(recorded: Recorded, completed_at: int | None) -> tuple[str, int | None]:
    status = _STATUS_AFTER[recorded.header.topic]
    return status.value, micros(recorded.header.occurred_at) if status.is_final else completed_at


def _changed(row: Row, recorded: Recorded) -> Row:
    status, completed_at = _after(recorded, row[-1])
    return (*row[:5], status, *row[6:-1], completed_at)


def _id(recorded: Recorded) -> str:
    return recorded.header.stream.removeprefix("deployment:")


def _requested(recorded: Recorded) -> Row:
    event, header = recorded.event, recorded.header
    if not isinstance(event, Deployment.Requested):
        raise TypeError(event)
    return (
        _id(recorded),
        event.plan.environment,
        event.plan.service,
        recorded.position,
        storable(event.plan.version),
        Status.REQUESTED.value,
        header.actor,
        msgspec.json.encode(event.reason).decode() if event.reason else None,
        micros(header.occurred_at),
        None,
    )


_STATUS_AFTER = {
    Deployment.Requested.TOPIC: Status.REQUESTED,
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
    services = ask(db, _SERVICES, {"its_environment": environment})
    _trim(db, [(environment, service) for (service,) in services])


_SERVICES = select(_C.service).distinct().where(_C.environment == bindparam("its_environment"))


def _trim(db: Connection, targets: Collection[tuple[str, str]]) -> None:
    if targets:
        do(db, _trimming(db.dialect.name), encoded(targets))


@cache
def _trimming(dialect: str) -> Delete:
    """Return the statement that deletes from targets what is beyond their limits."""
    target = _C.environment, _C.service
    newest_first = func.row_number().over(partition_by=target, order_by=_C.position.desc())
    ranked = select(_C.deployment, _C.environment, newest_first.label("place"))
    placed = ranked.where(among(dialect, *target)).subquery()
    kept = select(LIMITS.c.kept).where(LIMITS.c.environment == placed.c.environment)
    limit = func.coalesce(kept.scalar_subquery(), DEFAULT_LIMIT)
    old = select(placed.c.deployment).where(placed.c.place > limit)
    return delete(TABLE).where(_C.deployment.in_(old))


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
