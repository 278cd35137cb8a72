"""Deployment: one run of a plan, from the request to its one ending; frozen state, pure fold."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from .event import Event, Fact, Personal
from .plan import Plan, PlannedStage
from .stages import may_be_repeated
from .status import FINAL, Cause, StageStatus, Status

__all__ = ["ENDINGS", "FINAL", "Attempt", "Cause", "Deployment", "StageStatus", "Status"]

QUEUE_SECONDS = 24 * 3600.0
"""How long a deployment waits for its target before it is cancelled."""
START_SECONDS = 60.0
"""How long a deployment that holds its target may take to begin."""
LOST_ATTEMPTS = 10
"""How often a stage whose result was lost is tried again where it may be, beside its attempts."""
OPERATOR_SECONDS = 24 * 3600.0
"""How long a deployment waits for an operator before it is undone."""

_FAILED = (StageStatus.FAILED, StageStatus.ERRORED)


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The newest try of a stage."""

    number: int
    status: StageStatus
    started_at: datetime
    started_version: int
    """Stream version of its `stage_started`, by which its outcome names its cause."""
    ended_at: datetime | None = None
    message: str | None = None
    is_lost: bool = False
    """Whether it was lost with the platform."""
    lost: int = 0
    """How many tries so far were."""
    is_unknown: bool = False
    """Whether nobody can know what it did, and no operator has said what follows."""
    again_at: datetime | None = None
    """When an operator has asked for another try, where this one was unknown."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of a deployment; `id` is a UUIDv7."""

    id: str
    version: int = 0
    status: Status = Status.REQUESTED
    plan: Plan | None = None
    requested_by: str = ""
    requested_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    behind: str | None = None
    queued_at: datetime | None = None
    attempts: dict[str, Attempt] = {}
    undo: tuple[PlannedStage, ...] = ()
    cause: Cause | None = None
    is_undoing: bool = False
    is_abort_wanted: bool = False
    is_rollback_wanted: bool = False
    rollback_of: str | None = None
    retry_of: str | None = None
    is_limited: bool = False
    """Whether its environment counts it."""

    class Requested(Event, frozen=True):
        """Somebody wants a version in an environment; the plan says what will be done."""

        TOPIC: ClassVar[str] = "deployment.requested"
        plan: Plan
        plan_hash: str
        reason: Personal | None = None
        rollback_of: str | None = None
        retry_of: str | None = None
        is_limited: bool = False

    class Queued(Event, frozen=True):
        """The target is held; this deployment is next after those before it."""

        TOPIC: ClassVar[str] = "deployment.queued"
        behind: str

    class Started(Event, frozen=True):
        """It holds its target and begins."""

        TOPIC: ClassVar[str] = "deployment.started"

    class StageStarted(Event, frozen=True):
        """The intent to try a stage; whatever the try does comes after this."""

        TOPIC: ClassVar[str] = "deployment.stage_started"
        stage: str
        attempt: int

    class StageFinished(Event, frozen=True):
        """How a try ended; `output` is the digest of what was printed."""

        TOPIC: ClassVar[str] = "deployment.stage_finished"
        stage: str
        attempt: int
        outcome: str
        message: str | None = None
        output: str | None = None
        lost: bool = False

    class OperatorNeeded(Event, frozen=True):
        """Nobody can know what a try did, and it must not be done twice: a person decides."""

        TOPIC: ClassVar[str] = "deployment.operator_needed"
        stage: str
        attempt: int
        message: str | None = None

    class RetryRequested(Event, frozen=True):
        """An operator wants another try of what nobody knows."""

        TOPIC: ClassVar[str] = "deployment.retry_requested"
        reason: Personal | None = None

    class AbortRequested(Event, frozen=True):
        """Somebody wants it ended and undone."""

        TOPIC: ClassVar[str] = "deployment.abort_requested"
        reason: Personal | None = None

    class RollbackRequested(Event, frozen=True):
        """Somebody wants the version before back."""

        TOPIC: ClassVar[str] = "deployment.rollback_requested"
        reason: Personal | None = None

    class RollbackStarted(Event, frozen=True):
        """What was done is undone by these stages."""

        TOPIC: ClassVar[str] = "deployment.rollback_started"
        cause: str
        stages: tuple[PlannedStage, ...]

    class Linked(Event, frozen=True):
        """An annotation: a later deployment took this one back."""

        TOPIC: ClassVar[str] = "deployment.linked"
        rolled_back_by: str

    class Ended(Event, frozen=True):
        """The one ending; each final status is a subclass with its own topic."""

        outcome_kind: str
        """`decided`, or `errored` where it could not be decided."""
        message: str | None = None
        status: ClassVar[Status]

    class Succeeded(Ended, frozen=True):
        """Every stage succeeded."""

        TOPIC: ClassVar[str] = "deployment.succeeded"
        status: ClassVar[Status] = Status.SUCCEEDED

    class Failed(Ended, frozen=True):
        """It failed before traffic had reached the new revision."""

        TOPIC: ClassVar[str] = "deployment.failed"
        status: ClassVar[Status] = Status.FAILED

    class RolledBack(Ended, frozen=True):
        """Traffic had reached the new revision and was taken back."""

        TOPIC: ClassVar[str] = "deployment.rolled_back"
        status: ClassVar[Status] = Status.ROLLED_BACK

    class RollbackFailed(Ended, frozen=True):
        """It could not be undone."""

        TOPIC: ClassVar[str] = "deployment.rollback_failed"
        status: ClassVar[Status] = Status.ROLLBACK_FAILED

    class Aborted(Ended, frozen=True):
        """A person ended it, and whatever it had done is undone."""

        TOPIC: ClassVar[str] = "deployment.aborted"
        status: ClassVar[Status] = Status.ABORTED

    class Cancelled(Ended, frozen=True):
        """It ended before any effect."""

        TOPIC: ClassVar[str] = "deployment.cancelled"
        status: ClassVar[Status] = Status.CANCELLED

    @property
    def stream(self) -> str:
        """The stream's name."""
        return stream_of(self.id)

    @property
    def is_final(self) -> bool:
        """Whether its one ending is written."""
        return self.status.is_final

    @property
    def is_stopping(self) -> bool:
        """Whether what runs should be cancelled: it is to be undone, and the undoing is not it."""
        return self.is_abort_wanted or self.is_rollback_wanted or self.failed_stage is not None

    @property
    def recorded_plan(self) -> Plan:
        """The plan of a deployment that has been requested."""
        if self.plan is None:
            message = f"{self.stream} was never requested"
            raise LookupError(message)
        return self.plan

    @property
    def stages(self) -> tuple[PlannedStage, ...]:
        """Every stage so far: the plan's, then those that undo it."""
        return (*self.recorded_plan.stages, *self.undo)

    def stage(self, name: str) -> PlannedStage:
        """Return a stage by its name; KeyError if there is none."""
        return next(s for s in self.stages if s.name == name)

    def has_status(self, name: str, *statuses: StageStatus) -> bool:
        """Say whether a stage's newest try stands so."""
        attempt = self.attempts.get(name)
        return attempt is not None and attempt.status in statuses

    @property
    def running(self) -> list[PlannedStage]:
        """Stages with a try under way."""
        newest = self.attempts.get
        return [s for s in self.stages if (a := newest(s.name)) and a.status is StageStatus.RUNNING]

    @property
    def failed_stage(self) -> PlannedStage | None:
        """The plan's stage that failed for good, if one did."""
        if not any(attempt.status in _FAILED for attempt in self.attempts.values()):
            return None
        return next((s for s in self.recorded_plan.stages if self.has_failed_for_good(s)), None)

    def has_failed_for_good(self, stage: PlannedStage) -> bool:
        """Say whether a stage failed and has no attempt left, and no operator is asked about it."""
        failed = self.has_status(stage.name, *_FAILED) and self.next_attempt_at(stage) is None
        return failed and stage not in self.unknown

    @property
    def unknown(self) -> list[PlannedStage]:
        """Stages of whose newest try nobody can know what it did, until an operator decides."""
        if self.status is not Status.NEEDS_OPERATOR:
            return []
        stages = self.undo if self.is_undoing else self.stages
        return [s for s in stages if (a := self.attempts.get(s.name)) and a.is_unknown]

    @property
    def operator_deadline(self) -> datetime | None:
        """When an operator must have decided; None where none is needed."""
        ended = (self.attempts[stage.name].ended_at for stage in self.unknown)
        first = min((at for at in ended if at), default=None)
        return first and first + timedelta(seconds=OPERATOR_SECONDS)

    def next_attempt_at(self, stage: PlannedStage) -> datetime | None:
        """Return when a failed stage is tried again; None where it is not."""
        attempt = self.attempts.get(stage.name)
        if attempt is None or attempt.ended_at is None:
            return None
        if attempt.is_unknown or attempt.again_at:
            return attempt.again_at
        if attempt.status is StageStatus.ERRORED and not may_be_repeated(stage.spec):
            return None
        if attempt.is_lost:
            return attempt.ended_at if attempt.lost <= LOST_ATTEMPTS else None
        tries = attempt.number - attempt.lost
        if attempt.status not in _FAILED or tries >= stage.attempts:
            return None
        return attempt.ended_at + timedelta(seconds=stage.backoff * 2 ** (tries - 1))

    def deadline(self, stage: PlannedStage) -> datetime:
        """Return when the running try of a stage must have ended."""
        return self.attempts[stage.name].started_at + timedelta(seconds=stage.timeout)


ENDINGS: dict[str, type[Deployment.Ended]] = {
    kind.status.value: kind
    for kind in (
        Deployment.Succeeded,
        Deployment.Failed,
        Deployment.RolledBack,
        Deployment.RollbackFailed,
        Deployment.Aborted,
        Deployment.Cancelled,
    )
}


def stream_of(deployment: str) -> str:
    """Return the stream of a deployment's id."""
    return f"deployment:{deployment}"


def evolve(deployment: Deployment, fact: Fact) -> Deployment:
    """Return the state after one event."""
    return msgspec.structs.replace(
        deployment, version=deployment.version + 1, **_changes(deployment, fact)
    )


def _changes(deployment: Deployment, fact: Fact) -> dict[str, object]:
    event = fact.event
    match event:
        # Most events are these two, so they are asked for first.
        case Deployment.StageStarted():
            return {
                "attempts": {**deployment.attempts, event.stage: _begun(deployment, fact, event)}
            }
        case Deployment.StageFinished():
            ended = _ended(deployment.attempts[event.stage], fact, event)
            return {"attempts": {**deployment.attempts, event.stage: ended}}
        case Deployment.Requested():
            return _requested(event, fact)
        case Deployment.Queued():
            return {"status": Status.QUEUED, "behind": event.behind, "queued_at": fact.at}
        case Deployment.Started():
            return {"status": Status.RUNNING, "started_at": fact.at, "behind": None}
        case Deployment.AbortRequested():
            return {"is_abort_wanted": True}
        case Deployment.RollbackRequested():
            return {"is_rollback_wanted": True}
        case Deployment.RollbackStarted():
            cause = Cause(event.cause)
            undoing = {"undo": event.stages, "cause": cause, "is_undoing": True}
            return {**undoing, "status": Status.ROLLING_BACK}
        case Deployment.Ended():
            return {"status": event.status, "completed_at": fact.at}
        case _:
            return _left_to_people(deployment, fact)


def _left_to_people(deployment: Deployment, fact: Fact) -> dict[str, object]:
    match fact.event:
        case Deployment.OperatorNeeded(stage=stage):
            unknown = msgspec.structs.replace(deployment.attempts[stage], is_unknown=True)
            attempts = {**deployment.attempts, stage: unknown}
            return {"attempts": attempts, "status": Status.NEEDS_OPERATOR}
        case Deployment.RetryRequested():
            return _tried_again(deployment, fact)
        case _:
            return {}


def _requested(event: Deployment.Requested, fact: Fact) -> dict[str, object]:
    return {
        "plan": event.plan,
        "requested_by": fact.actor,
        "requested_at": fact.at,
        "rollback_of": event.rollback_of,
        "retry_of": event.retry_of,
        "is_limited": event.is_limited,
    }


def _tried_again(deployment: Deployment, fact: Fact) -> dict[str, object]:
    again = {"is_unknown": False, "again_at": fact.at}
    wanted = {
        stage.name: msgspec.structs.replace(deployment.attempts[stage.name], **again)
        for stage in deployment.unknown
    }
    status = Status.ROLLING_BACK if deployment.is_undoing else Status.RUNNING
    return {"attempts": {**deployment.attempts, **wanted}, "status": status}


def _begun(deployment: Deployment, fact: Fact, event: Deployment.StageStarted) -> Attempt:
    before = deployment.attempts.get(event.stage)
    return Attempt(
        number=event.attempt,
        status=StageStatus.RUNNING,
        started_at=fact.at,
        started_version=deployment.version + 1,
        lost=before.lost if before else 0,
    )


def _ended(attempt: Attempt, fact: Fact, event: Deployment.StageFinished) -> Attempt:
    return msgspec.structs.replace(
        attempt,
        status=StageStatus(event.outcome),
        ended_at=fact.at,
        message=event.message,
        is_lost=event.lost,
        lost=attempt.lost + event.lost,
    )
