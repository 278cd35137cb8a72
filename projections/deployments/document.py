"""The status document: everything there is to say of a deployment at one position of the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import msgspec

from ...domain.deployment import LOST_ATTEMPTS, StageStatus, Status
from ...domain.event import Personal


class Stage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stage as its newest try left it, with what the plan says of its patience."""

    name: str
    kind: str
    needs: tuple[str, ...]
    status: StageStatus = StageStatus.PENDING
    attempt: int = 0
    attempts: int
    """How many tries it may have."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    message: str | None = None
    output: str | None = None
    """Digest of what its newest finished try printed."""
    timeout_seconds: float
    backoff_seconds: float
    lasts_seconds: float | None = None
    """How long it takes by design: a wait, a watch."""
    may_be_repeated: bool = False
    """Whether a try of which nobody knows what it did may be followed by another."""
    is_lost: bool = False
    """Whether its newest try was lost with the platform."""
    lost: int = 0
    """How many tries were."""
    is_unknown: bool = False
    """Whether nobody can know what its newest try did, and no operator wanted another."""
    again_at: datetime | None = None
    """When an operator wanted another try."""

    @property
    def has_failed(self) -> bool:
        """Whether its newest try failed."""
        return self.status in {StageStatus.FAILED, StageStatus.ERRORED}

    @property
    def retry_at(self) -> datetime | None:
        """When a failed stage may be tried again; None where it has no attempt left."""
        if self.ended_at is None or not self.has_failed:
            return None
        if self.is_unknown or self.again_at:
            return self.again_at
        if self.status is StageStatus.ERRORED and not self.may_be_repeated:
            return None
        if self.is_lost:
            return self.ended_at if self.lost <= LOST_ATTEMPTS else None
        tries = self.attempt - self.lost
        if tries >= self.attempts:
            return None
        return self.ended_at + timedelta(seconds=self.backoff_seconds * 2 ** (tries - 1))


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """Something that a deployment waits for."""

    kind: str
    detail: str | None
    since: datetime | None
    until: datetime | None = None


class Rollback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why and how a deployment is undone."""

    cause: str
    stage: str | None
    """The stage that failed, if one did."""
    stages: tuple[str, ...]
    started_at: datetime
    completed_at: datetime | None = None


class Links(msgspec.Struct, frozen=True, gc=False):
    """Where more is to be had."""

    self: str
    events: str


class Live(msgspec.Struct, frozen=True, gc=False):
    """What serves the target."""

    revision: str
    version: str


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A deployment; what is personal stays sealed and `live` stays None until it is shown."""

    id: str
    pipeline: str
    pipeline_version: int
    service: str
    version: str
    artifact: str | None
    environment: str
    status: Status
    plan_hash: str
    current_stage: int = 0
    """How many stages have begun."""
    total_stages: int
    stages: tuple[Stage, ...]
    """The plan's, then those that undo it."""
    waiting_on: tuple[Waiting, ...] = ()
    requested_by: str | None
    """A subject's id; `kind:name` once it is shown."""
    reason: Personal | None
    requested_at: datetime
    queued_at: datetime | None = None
    behind: str | None = None
    """The deployment that it queued up behind."""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    is_stopping: bool = False
    """Whether no further stage of the plan begins."""
    rollback: Rollback | None = None
    rollback_of: str | None
    rolled_back_by: str | None = None
    retry_of: str | None
    outcome_kind: str | None = None
    message: str | None = None
    live: Live | None = None
    requested_position: int
    position: int
    """Of its newest event."""
    stale_since: int | None = None
    """Position of an event that could not be folded: what came after it is not in here."""
    links: Links


Outline = cast(
    "type[StatusDocument]",
    msgspec.defstruct(
        "Outline",
        [
            ("stages", msgspec.Raw),
            ("waiting_on", msgspec.Raw),
            ("rollback", msgspec.Raw),
            ("links", msgspec.Raw),
        ],
        bases=(StatusDocument,),
        frozen=True,
        kw_only=True,
        gc=False,
    ),
)
"""A document to be served and not looked into: its largest parts stay the bytes that they are."""
