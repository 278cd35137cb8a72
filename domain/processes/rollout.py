"""rollout: what a deployment does next, forward through its plan or back through its undoing.

`react` is asked again after every event until it wants nothing more; what it wants is stored in
the same append as what it reacted to. `next_look` says when it must be asked again if nothing
happens: every deployment that is not final has such an instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..commands import BeginRollback, End, Reaction, Start, StartStage
from ..deployment import QUEUE_SECONDS, START_SECONDS, Cause, Deployment, StageStatus, Status
from ..plan import PlannedStage, ready
from ..rollback import unwind
from ..stages import CheckSpec, RunSpec, SwitchSpec, WaitSpec
from ..target import Target

_DONE = (StageStatus.SUCCEEDED, StageStatus.SKIPPED)
_NOT_FAILED = (*_DONE, StageStatus.RUNNING)
_HARMLESS = (RunSpec, CheckSpec, WaitSpec)
"""Kinds that change nothing at the target: an undoing need not wait until they have stopped."""


def react(deployment: Deployment, target: Target, now: datetime) -> Sequence[Reaction]:
    """Return what the deployment wants to do now; nothing while it waits."""
    if deployment.is_final:
        return ()
    if target.holder != deployment.id:
        return _wait_in_line(deployment, now)
    if deployment.started_at is None:
        return _begin(deployment)
    if deployment.is_undoing:
        return _undo(deployment, now)
    if deployment.is_stopping or _is_given_up(deployment, now):
        return _stop(deployment)
    return _advance(deployment, now)


def next_look(deployment: Deployment, target: Target) -> datetime | None:
    """Return when the deployment must be looked at again at the latest; None once it is final."""
    if deployment.is_final:
        return None
    if target.holder != deployment.id:
        return _queue_deadline(deployment)
    instants = [deployment.deadline(stage) for stage in deployment.running]
    if deployment.operator_deadline:
        instants.append(deployment.operator_deadline)
    elif not deployment.is_stopping or deployment.is_undoing:
        instants += [at for _, at in _tried_again(deployment, deployment.stages)]
    return min(instants, default=_start_deadline(deployment))


def needs_operator(deployment: Deployment, stage: str) -> bool:
    """Say whether a person has to decide on a try of which nobody can know what it did.

    What is to be undone anyway is undone, whatever it did.
    """
    if deployment.is_undoing:
        return any(stage == undoing.name for undoing in deployment.undo)
    return not deployment.is_stopping


def _is_given_up(deployment: Deployment, now: datetime) -> bool:
    deadline = deployment.operator_deadline
    return deadline is not None and now >= deadline


def _wait_in_line(deployment: Deployment, now: datetime) -> Sequence[Reaction]:
    if deployment.is_abort_wanted or deployment.is_rollback_wanted:
        return (End(ending=Status.CANCELLED, outcome_kind="decided"),)
    if now >= _queue_deadline(deployment):
        message = f"It waited {QUEUE_SECONDS:g} s for its target."
        return (End(ending=Status.CANCELLED, outcome_kind="decided", message=message),)
    return ()


def _begin(deployment: Deployment) -> Sequence[Reaction]:
    if deployment.is_abort_wanted or deployment.is_rollback_wanted:
        return (End(ending=Status.CANCELLED, outcome_kind="decided"),)
    return (Start(),)


def _advance(deployment: Deployment, now: datetime) -> Sequence[Reaction]:
    if deployment.unknown:
        return ()
    stages, done = deployment.recorded_plan.stages, _done(deployment)
    if all(stage.name in done for stage in stages):
        return (End(ending=Status.SUCCEEDED, outcome_kind="decided"),)
    return _next_tries(deployment, stages, done, now)


def _stop(deployment: Deployment) -> Sequence[Reaction]:
    running = deployment.running
    if any(not isinstance(stage.spec, _HARMLESS) for stage in running):
        return ()
    stages = unwind(deployment.recorded_plan, begun=deployment.attempts.keys())
    if stages:
        return (BeginRollback(cause=_cause(deployment), stages=tuple(stages)),)
    return () if running else (_ending(deployment),)


def _undo(deployment: Deployment, now: datetime) -> Sequence[Reaction]:
    lost = next((s for s in deployment.undo if deployment.has_failed_for_good(s)), None)
    if _is_given_up(deployment, now):
        lost = lost or deployment.unknown[0]
    if lost is not None:
        return () if deployment.running else (_rollback_failed(deployment, lost),)
    if deployment.unknown:
        return ()
    done = _done(deployment)
    if all(stage.name in done for stage in deployment.undo):
        return () if deployment.running else (_ending(deployment),)
    return _next_tries(deployment, deployment.undo, done, now)


def _next_tries(
    deployment: Deployment, stages: Sequence[PlannedStage], done: set[str], now: datetime
) -> Sequence[Reaction]:
    again = [
        StartStage(stage=stage.name, attempt=deployment.attempts[stage.name].number + 1)
        for stage, at in _tried_again(deployment, stages)
        if at <= now
    ]
    first = ready(stages, done, deployment.attempts)
    return (*again, *(StartStage(stage=stage.name, attempt=1) for stage in first))


def _done(deployment: Deployment) -> set[str]:
    """Return the names of the stages that need no further try."""
    return {name for name, newest in deployment.attempts.items() if newest.status in _DONE}


def _tried_again(
    deployment: Deployment, stages: Sequence[PlannedStage]
) -> list[tuple[PlannedStage, datetime]]:
    """Return those of some stages that are tried again after their newest try, and when."""
    newest = deployment.attempts.get
    ended = [s for s in stages if (a := newest(s.name)) and a.status not in _NOT_FAILED]
    return [(stage, at) for stage in ended if (at := deployment.next_attempt_at(stage))]


def _cause(deployment: Deployment) -> Cause:
    if deployment.cause is not None:
        return deployment.cause
    if deployment.is_abort_wanted:
        return Cause.ABORT
    return Cause.ROLLBACK if deployment.is_rollback_wanted else Cause.STAGE_FAILED


def _ending(deployment: Deployment) -> End:
    cause = _cause(deployment)
    kind, message = _verdict(deployment)
    if cause is Cause.ABORT:
        ending = Status.ABORTED if deployment.attempts else Status.CANCELLED
        return End(ending=ending, outcome_kind="decided")
    if _traffic_had_reached_it(deployment):
        return End(ending=Status.ROLLED_BACK, outcome_kind=kind, message=message)
    ending = Status.FAILED if cause is Cause.STAGE_FAILED else Status.ABORTED
    return End(ending=ending, outcome_kind=kind, message=message)


def _verdict(deployment: Deployment) -> tuple[str, str | None]:
    failed = deployment.failed_stage or next(iter(deployment.unknown), None)
    if failed is None:
        return "decided", None
    attempt = deployment.attempts[failed.name]
    kind = "errored" if attempt.status is StageStatus.ERRORED else "decided"
    return kind, f"{failed.name}: {attempt.message or attempt.status}"


def _rollback_failed(deployment: Deployment, stage: PlannedStage) -> End:
    attempt = deployment.attempts[stage.name]
    kind = "errored" if attempt.status is StageStatus.ERRORED else "decided"
    message = f"{stage.name}: {attempt.message or attempt.status}"
    return End(ending=Status.ROLLBACK_FAILED, outcome_kind=kind, message=message)


def _traffic_had_reached_it(deployment: Deployment) -> bool:
    return any(
        isinstance(stage.spec, SwitchSpec)
        and deployment.has_status(stage.name, StageStatus.SUCCEEDED, StageStatus.ERRORED)
        for stage in deployment.recorded_plan.stages
    )


def _queue_deadline(deployment: Deployment) -> datetime:
    return _since(deployment) + timedelta(seconds=QUEUE_SECONDS)


def _start_deadline(deployment: Deployment) -> datetime:
    return _since(deployment) + timedelta(seconds=START_SECONDS)


def _since(deployment: Deployment) -> datetime:
    since = deployment.queued_at or deployment.requested_at
    if since is None:
        message = f"{deployment.stream} was never requested"
        raise LookupError(message)
    return since
