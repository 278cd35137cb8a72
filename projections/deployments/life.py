"""How a status document changes: a pure fold of the deployment's own stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ...domain.deployment import QUEUE_SECONDS, START_SECONDS, Deployment, StageStatus, Status
from ...domain.event import Recorded
from ...domain.plan import PlannedStage
from ...domain.stages import MonitorSpec, WaitSpec, may_be_repeated
from .document import Links, Rollback, Stage, StatusDocument, Waiting

Changes = dict[str, Any]


def fold(events: Iterable[Recorded]) -> StatusDocument | None:
    """Return the document after these events of one stream, from its first."""
    document = None
    for recorded in events:
        document = step(document, recorded)
    return document and waiting(document)


def apply(document: StatusDocument | None, recorded: Recorded) -> StatusDocument:
    """Return the document after one more event of the deployment."""
    return waiting(step(document, recorded))


def step(document: StatusDocument | None, recorded: Recorded) -> StatusDocument:
    """Return the document after one more event, but for what it waits for: say that at the end."""
    event = recorded.event
    if isinstance(event, Deployment.Requested):
        return _requested(event, recorded)
    if document is None:
        message = f"{recorded.header.stream} does not begin with a request"
        raise LookupError(message)
    changes = _changes(document, event, recorded.header.occurred_at)
    return msgspec.structs.replace(document, position=recorded.position, **changes)


def waiting(document: StatusDocument) -> StatusDocument:
    """Return the document with what it waits for; it follows from the rest of it."""
    return msgspec.structs.replace(document, waiting_on=tuple(_waits(document)))


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


def _changes(document: StatusDocument, event: object, at: datetime) -> Changes:
    match event:
        case Deployment.StageStarted() | Deployment.StageFinished():
            return _stage_changes(document, event, at)
        case Deployment.Queued():
            return {"status": Status.QUEUED, "queued_at": at, "behind": event.behind}
        case Deployment.Started():
            return {"status": Status.RUNNING, "started_at": at}
        case Deployment.AbortRequested() | Deployment.RollbackRequested():
            return {"is_stopping": True}
        case Deployment.RollbackStarted():
            return _rollback_started(document, event, at)
        case Deployment.Linked():
            return {"rolled_back_by": event.rolled_back_by}
        case Deployment.Ended():
            return _ended(document, event, at)
        case _:
            return {}


def _stage_changes(
    document: StatusDocument,
    event: Deployment.StageStarted | Deployment.StageFinished,
    at: datetime,
) -> Changes:
    place = next(n for n, stage in enumerate(document.stages) if stage.name == event.stage)
    before = document.stages[place]
    if isinstance(event, Deployment.StageStarted):
        stage = _begun(before, event, at)
    else:
        stage = _finished(before, event, at)
    stages = (*document.stages[:place], stage, *document.stages[place + 1 :])
    lost = stage.has_failed and stage.retry_at is None and not document.rollback
    return {
        "stages": stages,
        "current_stage": document.current_stage + (before.attempt == 0),
        "is_stopping": document.is_stopping or lost,
    }


def _begun(stage: Stage, event: Deployment.StageStarted, at: datetime) -> Stage:
    return msgspec.structs.replace(
        stage,
        status=StageStatus.RUNNING,
        attempt=event.attempt,
        started_at=at,
        ended_at=None,
        message=None,
    )


def _finished(stage: Stage, event: Deployment.StageFinished, at: datetime) -> Stage:
    return msgspec.structs.replace(
        stage,
        status=StageStatus(event.outcome),
        ended_at=at,
        message=event.message,
        output=event.output,
        is_lost=event.lost,
        lost=stage.lost + event.lost,
    )


def _rollback_started(
    document: StatusDocument, event: Deployment.RollbackStarted, at: datetime
) -> Changes:
    failed = (s.name for s in document.stages if s.has_failed and s.retry_at is None)
    stages = (*_settled(document, at, StageStatus.PENDING), *map(_planned, event.stages))
    rollback = Rollback(
        cause=event.cause,
        stage=next(failed, None),
        stages=tuple(stage.name for stage in event.stages),
        started_at=at,
    )
    return {
        "status": Status.ROLLING_BACK,
        "is_stopping": True,
        "rollback": rollback,
        "stages": stages,
        "total_stages": len(stages),
    }


def _ended(document: StatusDocument, event: Deployment.Ended, at: datetime) -> Changes:
    rollback = document.rollback
    return {
        "status": event.status,
        "completed_at": at,
        "outcome_kind": event.outcome_kind,
        "message": event.message,
        "stages": tuple(_settled(document, at, StageStatus.PENDING, StageStatus.RUNNING)),
        "rollback": rollback and msgspec.structs.replace(rollback, completed_at=at),
    }


def _settled(document: StatusDocument, at: datetime, *open_ones: StageStatus) -> Iterator[Stage]:
    """Return the stages, those that will never come to an end by themselves brought to one."""
    for stage in document.stages:
        if stage.status not in open_ones:
            yield stage
        elif stage.status is StageStatus.PENDING:
            yield msgspec.structs.replace(stage, status=StageStatus.SKIPPED)
        else:
            yield msgspec.structs.replace(stage, status=StageStatus.CANCELLED, ended_at=at)


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
    elif (at := stage.retry_at) and _may_be_retried(document, stage):
        yield Waiting("retry", stage.name, stage.ended_at, at)


_BY_DESIGN = ("wait", "monitor")


def _may_be_retried(document: StatusDocument, stage: Stage) -> bool:
    if document.rollback is not None:
        return stage.name in document.rollback.stages
    return not document.is_stopping
