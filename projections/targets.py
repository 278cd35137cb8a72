"""targets: what runs where, and who may change it.

The row is the domain's own fold of the target's stream; how a revision is started is left out of
what is stored, and so are the line of those who wait and the list of all that ever ended there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    Select,
    Table,
    bindparam,
    literal,
    select,
)

from ..domain.event import Header, Recorded
from ..domain.health import HealthPolicy
from ..domain.target import Revision, Target, evolve
from .follower import (
    TEXT,
    WHOLE,
    Page,
    ReadModel,
    Slice,
    browse,
    instant,
    memory_of,
    micros,
    put,
    stale_since,
    storable,
    with_keys,
)

TABLE = Table(
    "targets",
    MetaData(),
    Column("environment", TEXT, primary_key=True),
    Column("service", TEXT, primary_key=True),
    Column("version", TEXT),
    Column("revision", TEXT),
    Column("deployment", TEXT),
    Column("since", WHOLE),
    Column("holder", TEXT),
    Column("position", WHOLE, nullable=False),
    Column("state", TEXT, nullable=False),
    postgresql_with={"fillfactor": 80},
)
_C = TABLE.c
Index("targets_service", _C.service, _C.environment)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What runs at a target; all but its name is None where nothing ever did."""

    environment: str
    service: str
    version: str | None
    revision: str | None
    deployment: str | None
    """The one that brought the revision."""
    since: datetime | None
    """When requests began to go to it."""
    holder: str | None
    """The deployment that may change the target now."""
    position: int
    """Of the target's newest event."""
    stale_since: int | None = None


class Standing(msgspec.Struct, frozen=True):
    """A target's state as far as it matters here."""

    target: Target
    since: datetime | None = None
    position: int = 0

    @property
    def place(self) -> Place:
        """What there is to show of it."""
        environment, _, service = self.target.name.partition("/")
        live = self.target.live
        return Place(
            environment=environment,
            service=service,
            version=storable(live.version) if live else None,
            revision=live.id if live else None,
            deployment=live.deployment if live else None,
            since=self.since if live else None,
            holder=self.target.holder,
            position=self.position,
        )


class Targets(ReadModel):
    """One row a target."""

    name: ClassVar[str] = "targets"
    version: ClassVar[int] = 2
    tables: ClassVar[tuple[Table, ...]] = (TABLE,)
    streams: ClassVar[tuple[str, ...]] = ("target:",)

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        """Fold events into the targets."""
        memory = memory_of(db)
        older = {_name(e.header) for e in events if e.header.stream_version > 1}
        known = memory.recall(self.name, older)
        known |= _load(db, older - known.keys())
        changed: dict[str, Standing] = {}
        for recorded in events:
            name = _name(recorded.header)
            changed[name] = apply(changed.get(name) or known.get(name), recorded)
        rows = {name: _row(standing) for name, standing in changed.items()}
        put(db, TABLE, rows.values())
        for name, row in rows.items():
            memory.keep(self.name, name, changed[name], len(row[-1]))

    def warm(self, db: Connection) -> None:
        """Look up, too, what nobody is called."""
        super().warm(db)
        _load(db, [""])

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        """Return the row of a target's stream."""
        environment, _, service = _name(header).partition("/")
        return {TABLE: (_C.environment == environment) & (_C.service == service)}


def get(db: Connection, environment: str, service: str) -> Place | None:
    """Return what runs at a target, or None where no deployment ever went."""
    name = {"its_environment": environment, "its_service": service}
    row = db.execute(_ONE, name).first()
    return _place(row) if row else None


def listed(
    db: Connection, page: Page, *, environment: str | None = None, service: str | None = None
) -> Slice[Place]:
    """Return what runs where, by environment and service."""
    statement = _SHOWN
    if environment is not None:
        statement = statement.where(_C.environment == environment)
    if service is not None:
        statement = statement.where(_C.service == service)
    rows = browse(db, statement, [_C.environment, _C.service], page)
    return Slice([_place(tuple(row.values())) for row in rows.items], rows.next)


def names(db: Connection) -> list[str]:
    """Return the name of every target, `environment/service`."""
    rows = db.execute(select(_C.environment, _C.service).order_by(_C.environment, _C.service))
    return [f"{environment}/{service}" for environment, service in rows]


def fold(events: Iterable[Recorded]) -> Place | None:
    """Return what ran at a target after these events of its stream, from its first."""
    standing = None
    for recorded in events:
        standing = apply(standing, recorded)
    return standing.place if standing else None


def apply(standing: Standing | None, recorded: Recorded) -> Standing:
    """Return a target after one more event of its stream."""
    if standing is None:
        standing = Standing(Target(name=_name(recorded.header)))
    before, fact = standing.target, recorded.fact
    if isinstance(fact.event, Target.RevisionStarted):
        revision = _slim(fact.event.revision)
        fact = msgspec.structs.replace(
            fact, event=msgspec.structs.replace(fact.event, revision=revision)
        )
    after = evolve(before, fact)
    if after.queue or after.finished:
        after = msgspec.structs.replace(after, queue=(), finished=())
    return Standing(after, fact.at if _is_moved(before, after) else standing.since, fact.position)


_SHOWN = select(
    *[column for column in _C if column is not _C.state],
    stale_since("targets", literal("target:") + _C.environment + "/" + _C.service),
)
_ONE = _SHOWN.where(
    _C.environment == bindparam("its_environment"), _C.service == bindparam("its_service")
)
_NAMES = _SHOWN.selected_columns.keys()
_STATE = select(_C.state)
_STANDINGS = msgspec.json.Decoder(Standing)


def _is_moved(before: Target, after: Target) -> bool:
    if before.serving is after.serving and before.revisions is after.revisions:
        return False
    return (before.live and before.live.id) != (after.live and after.live.id)


def _slim(revision: Revision) -> Revision:
    return Revision(
        id=revision.id,
        version=revision.version,
        deployment=revision.deployment,
        workspace=revision.workspace,
        argv=(),
        capacity=revision.capacity,
        values={},
        policy=HealthPolicy(checks=()),
    )


def _name(header: Header) -> str:
    return header.stream.removeprefix("target:")


def _load(db: Connection, names: Collection[str]) -> dict[str, Standing]:
    standings = [_STANDINGS.decode(state) for (state,) in _of(db, _STATE, names)]
    return {standing.target.name: standing for standing in standings}


def _of(
    db: Connection, statement: Select[*tuple[Any, ...]], names: Collection[str]
) -> Sequence[Sequence[Any]]:
    keys = [(environment, service) for environment, _, service in (n.partition("/") for n in names)]
    return with_keys(db, statement, (_C.environment, _C.service), keys)


def _row(standing: Standing) -> tuple[Any, ...]:
    place = standing.place
    return (
        place.environment,
        place.service,
        place.version,
        place.revision,
        place.deployment,
        micros(place.since) if place.since else None,
        place.holder,
        place.position,
        msgspec.json.encode(standing).decode(),
    )


def _place(row: Sequence[Any]) -> Place:
    said: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    if said["since"] is not None:
        said["since"] = instant(said["since"])
    return Place(**said)
