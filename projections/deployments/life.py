"""How a status document changes: a pure fold of the deployment's own stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ...domain.deployment import (
    ENDINGS,
    OPERATOR_SECONDS,
    QUEUE_SECONDS,
    START_SECONDS,
    Deployment,
    StageStatus,
    Status,
)
from ...domain.event import Event, Recorded
from ...domain.plan import PlannedStage
from ...domain.stages import MonitorSpec, WaitSpec, may_be_repeated
from .document import Links, Rollback, Stage, StatusDocument, Waiting


def fold(events: Iterable[Recorded]) -> StatusDocument | None:
    """Return the document after these events of one stream, from its first."""
    life = Life()
    for recorded in events:
        life.add(recorded)
    return life.document() if life.has_begun else None


def apply(document: StatusDocument | None, recorded: Recorded) -> StatusDocument:
    """Return the document after one more event of the deployment."""
    life = Life(document)
    life.add(recorded)
    return life.document()


class Life:
    """A document while events change it: it is made anew once for all of them."""

    __slots__ = ("_before", "_begun", "_changes", "_is_stopping", "_places", "_rollback", "_stages")

    def __init__(self, document: StatusDocument | None = None) -> None:
        self._before: StatusDocument | None = None
        if document is not None:
            self._start(document)

    @property
    def has_begun(self) -> bool:
        """Whether the request is there."""
        return self._before is not None

    def add(self, recorded: Recorded) -> None:
        """Change the document by one more event. Errors: LookupError before the request."""
        event = recorded.event
        if isinstance(event, Deployment.Requested):
            self._start(_requested(event, recorded))
            return
        if self._before is None:
            message = f"{recorded.header.stream} does not begin with a request"
            raise LookupError(message)
        if change := _CHANGE.get(type(event)):
            change(self, event, recorded.header.occurred_at)
        self._changes["position"] = recorded.position

    def document(self) -> StatusDocument:
        """Return the document as it is by now, with what it waits for. Errors: LookupError."""
        if self._before is None:
            raise LookupError
        document = msgspec.structs.replace(
            self._before,
            stages=tuple(self._stages),
            current_stage=self._begun,
            is_stopping=self._is_stopping,
            rollback=self._rollback,
            **self._changes,
        )
        # It follows from all the rest.
        waits = tuple(_waits(document))
        if waits == document.waiting_on:
            return document
        return msgspec.structs.replace(document, waiting_on=waits)

    def _start(self, document: StatusDocument) -> None:
        self._before = document
        self._changes: dict[str, Any] = {}
        self._begun = document.current_stage
        self._is_stopping = document.is_stopping
        self._rollback = document.rollback
        self._arrange(document.stages)

    def _arrange(self, stages: Iterable[Stage]) -> None:
        self._stages = list(stages)
        self._places = dict[str, int]()
        for place, stage in enumerate(self._stages):
            self._places.setdefault(stage.name, place)

    def queued(self, event: Deployment.Queued, at: datetime) -> None:
        """Wait for the target."""
        self._changes |= {"status": Status.QUEUED, "queued_at": at, "behind": event.behind}

    def started(self, _: Deployment.Started, at: datetime) -> None:
        """Begin the plan."""
        self._changes |= {"status": Status.RUNNING, "started_at": at}

    def stage_started(self, event: Deployment.StageStarted, at: datetime) -> None:
        """Begin a try of a stage."""
        place = self._places[event.stage]
        before = self._stages[place]
        self._begun += before.attempt == 0
        self._stages[place] = msgspec.structs.replace(
            before,
            status=StageStatus.RUNNING,
            attempt=event.attempt,
            started_at=at,
            ended_at=None,
            message=None,
            is_unknown=False,
            again_at=None,
        )

    def stage_finished(self, event: Deployment.StageFinished, at: datetime) -> None:
        """End a try of a stage; one that can have no other stops all that would follow."""
        place = self._places[event.stage]
        before = self._stages[place]
        self._begun += before.attempt == 0
        self._stages[place] = stage = msgspec.structs.replace(
            before,
            status=_OUTCOMES[event.outcome],
            ended_at=at,
            message=event.message,
            output=event.output,
            is_lost=event.lost,
            lost=before.lost + event.lost,
        )
        if stage.has_failed and stage.retry_at is None and self._rollback is None:
            self._is_stopping = True

    def stopped(self, _: Event, __: datetime) -> None:
        """Begin no further stage of the plan."""
        self._is_stopping = True

    def operator_needed(self, event: Deployment.OperatorNeeded, _: datetime) -> None:
        """Leave it to a person what follows a try of which nobody can know what it did."""
        place = self._places[event.stage]
        self._stages[place] = msgspec.structs.replace(self._stages[place], is_unknown=True)
        self._is_stopping = self._rollback is not None
        self._changes["status"] = Status.NEEDS_OPERATOR

    def retry_requested(self, _: Deployment.RetryRequested, at: datetime) -> None:
        """Go on with another try."""
        for place, stage in enumerate(self._stages):
            if _is_in_doubt(stage, self._rollback):
                again = msgspec.structs.replace(stage, is_unknown=False, again_at=at)
                self._stages[place] = again
        is_forward = self._rollback is None
        self._changes["status"] = Status.RUNNING if is_forward else Status.ROLLING_BACK

    def rollback_started(self, event: Deployment.RollbackStarted, at: datetime) -> None:
        """Add the stages that undo it."""
        failed = (s.name for s in self._stages if s.has_failed and s.retry_at is None)
        self._rollback = Rollback(
            cause=event.cause,
            stage=next(failed, None),
            stages=tuple(stage.name for stage in event.stages),
            started_at=at,
        )
        self._is_stopping = True
        self._settle(at, StageStatus.PENDING)
        self._arrange((*self._stages, *map(_planned, event.stages)))
        self._changes |= {"status": Status.ROLLING_BACK, "total_stages": len(self._stages)}

    def linked(self, event: Deployment.Linked, _: datetime) -> None:
        """Note who undoes it."""
        self._changes["rolled_back_by"] = event.rolled_back_by

    def ended(self, event: Deployment.Ended, at: datetime) -> None:
        """Bring everything to an end."""
        self._settle(at, StageStatus.PENDING, StageStatus.RUNNING)
        if self._rollback is not None:
            self._rollback = msgspec.structs.replace(self._rollback, completed_at=at)
        self._changes |= {
            "status": event.status,
            "completed_at": at,
            "outcome_kind": event.outcome_kind,
            "message": event.message,
        }

    def _settle(self, at: datetime, *open_ones: StageStatus) -> None:
        """Bring stages to an end that will never come to one by themselves."""
        for place, stage in enumerate(self._stages):
            if stage.status not in open_ones:
                continue
            if stage.status is StageStatus.PENDING:
                ended = msgspec.structs.replace(stage, status=StageStatus.SKIPPED)
            else:
                ended = msgspec.structs.replace(stage, status=StageStatus.CANCELLED, ended_at=at)
            self._stages[place] = ended


_CHANGE: dict[type, Callable[[Life, Any, datetime], None]] = {
    Deployment.Queued: Life.queued,
    Deployment.Started: Life.started,
    Deployment.StageStarted: Life.stage_started,
    Deployment.StageFinished: Life.stage_finished,
    Deployment.AbortRequested: Life.stopped,
    Deployment.RollbackRequested: Life.stopped,
    Deployment.OperatorNeeded: Life.operator_needed,
    Deployment.RetryRequested: Life.retry_requested,
    Deployment.RollbackStarted: Life.rollback_started,
    Deployment.Linked: Life.linked,
    **dict.fromkeys(ENDINGS.values(), Life.ended),
}
_OUTCOMES = {status.value: status for status in StageStatus}


def _requested(event: Deployment.Requested, recorded: Recorded) -> StatusDocument:
    header, plan = recorded.header, event.plan
    deployment = header.stream.removeprefix("deployment:")
    path = f"/v1/deployments/{deployment}"
    return StatusDocument(
        id=deployment,
        pipeline=plan.pipeline,
        pipeline_version=plan.pipeline_version,
        service=plan.service,
        version=plan.version,
        artifact=plan.artifact,
        environment=plan.environment,
        status=Status.REQUESTED,
        plan_hash=event.plan_hash,
        total_stages=len(plan.stages),
        stages=tuple(map(_planned, plan.stages)),
        requested_by=header.actor,
        reason=event.reason,
        requested_at=header.occurred_at,
        rollback_of=event.rollback_of,
        retry_of=event.retry_of,
        requested_position=recorded.position,
        position=recorded.position,
        links=Links(self=path, events=f"{path}/events"),
    )


def _planned(stage: PlannedStage) -> Stage:
    spec = stage.spec
    return Stage(
        name=stage.name,
        kind=str(spec.__struct_config__.tag),
        needs=stage.needs,
        attempts=stage.attempts,
        timeout_seconds=stage.timeout,
        backoff_seconds=stage.backoff,
        lasts_seconds=spec.seconds if isinstance(spec, WaitSpec | MonitorSpec) else None,
        may_be_repeated=may_be_repeated(spec),
    )


def _waits(document: StatusDocument) -> Iterator[Waiting]:
    if document.status is Status.REQUESTED:
        until = document.requested_at + timedelta(seconds=START_SECONDS)
        yield Waiting("worker", "a worker begins it", document.requested_at, until)
    elif document.status is Status.QUEUED and document.queued_at:
        until = document.queued_at + timedelta(seconds=QUEUE_SECONDS)
        yield Waiting("target", f"deployment {document.behind}", document.queued_at, until)
    elif not document.status.is_final:
        for stage in document.stages:
            yield from _stage_waits(document, stage)


def _stage_waits(document: StatusDocument, stage: Stage) -> Iterator[Waiting]:
    if stage.status is StageStatus.RUNNING and stage.started_at:
        seconds = stage.lasts_seconds or stage.timeout_seconds
        until = stage.started_at + timedelta(seconds=seconds)
        kind = stage.kind if stage.kind in _BY_DESIGN else "stage"
        yield Waiting(kind, stage.name, stage.started_at, until)
    elif document.status is Status.NEEDS_OPERATOR:
        if _is_in_doubt(stage, document.rollback) and stage.ended_at:
            until = stage.ended_at + timedelta(seconds=OPERATOR_SECONDS)
            yield Waiting("operator", stage.name, stage.ended_at, until)
    elif (at := stage.retry_at) and _may_be_retried(document, stage):
        yield Waiting("retry", stage.name, stage.ended_at, at)


def _is_in_doubt(stage: Stage, rollback: Rollback | None) -> bool:
    return stage.is_unknown and (rollback is None or stage.name in rollback.stages)


_BY_DESIGN = ("wait", "monitor")


def _may_be_retried(document: StatusDocument, stage: Stage) -> bool:
    if document.rollback is not None:
        return stage.name in document.rollback.stages
    return not document.is_stopping
