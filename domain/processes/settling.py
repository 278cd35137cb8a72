"""settling: reactions become events until a deployment wants nothing more; pure."""

from __future__ import annotations

import hashlib
from datetime import datetime

from ..commands import BeginRollback, End, FinishStage, Reaction, Start, StartStage
from ..deployment import ENDINGS, Deployment, Status
from ..deployment import stream_of as deployment_stream
from ..environment import Environment
from ..environment import stream_of as environment_stream
from ..event import CommandRef
from ..target import Target, release
from ..target import stream_of as target_stream
from ..transaction import Transaction
from .rollout import needs_operator, next_look, react


def settle(transaction: Transaction, deployment: Deployment, target: Target) -> datetime | None:
    """Record everything that the process manager wants; record and return when to look again."""
    while reactions := react(deployment, target, transaction.now):
        reacted_to = f"{deployment.stream}@{deployment.version}"
        for index, reaction in enumerate(reactions):
            transaction.obey(_identify("rollout", reacted_to, index), cause=reacted_to)
            carry_out(transaction, deployment, reaction)
        deployment, target = current(transaction, deployment.id)
    at = next_look(deployment, target)
    transaction.look_again(deployment.stream, at)
    return at


def finish(transaction: Transaction, deployment: Deployment, outcome: FinishStage) -> None:
    """Record how a try ended; its id makes a repeat known."""
    version = deployment.attempts[outcome.stage].started_version
    cause = f"{deployment.stream}@{version}"
    transaction.obey(_identify("stage", cause, 0), cause=cause)
    carry_out(transaction, deployment, outcome)


def carry_out(transaction: Transaction, deployment: Deployment, reaction: Reaction) -> None:
    """Record one reaction's events."""
    stream = deployment.stream
    match reaction:
        case Start():
            transaction.record(stream, Deployment.Started())
        case StartStage(stage=stage, attempt=attempt):
            transaction.record(stream, Deployment.StageStarted(stage=stage, attempt=attempt))
        case FinishStage():
            _finish_stage(transaction, deployment, reaction)
        case BeginRollback(cause=cause, stages=stages):
            transaction.record(stream, Deployment.RollbackStarted(cause=cause, stages=stages))
        case End():
            _end(transaction, deployment, reaction)
        case _:
            raise TypeError(reaction)


def current(transaction: Transaction, deployment: str) -> tuple[Deployment, Target]:
    """Return a deployment and its target as they are after what is recorded so far."""
    state = transaction.state(Deployment, deployment_stream(deployment))
    return state, transaction.state(Target, target_stream(state.recorded_plan.target))


def _finish_stage(transaction: Transaction, deployment: Deployment, outcome: FinishStage) -> None:
    finished = Deployment.StageFinished(
        stage=outcome.stage,
        attempt=outcome.attempt,
        outcome=outcome.outcome,
        message=outcome.message,
        output=outcome.output,
        lost=outcome.lost,
    )
    transaction.record(deployment.stream, finished)
    if outcome.unknown and needs_operator(deployment, outcome.stage):
        needed = Deployment.OperatorNeeded(
            stage=outcome.stage, attempt=outcome.attempt, message=outcome.message
        )
        transaction.record(deployment.stream, needed)
    for fact in outcome.facts:
        transaction.record(target_stream(deployment.recorded_plan.target), fact)


def _end(transaction: Transaction, deployment: Deployment, end: End) -> None:
    ending = ENDINGS[end.ending](outcome_kind=end.outcome_kind, message=end.message)
    transaction.record(deployment.stream, ending)
    _, target = current(transaction, deployment.id)
    taken_back = _taken_back(deployment, target) if end.ending == Status.SUCCEEDED else ()
    for event in release(target, deployment.id, end.ending, taken_back=taken_back):
        transaction.record(target.stream, event)
        if isinstance(event, Target.Held):
            transaction.look_again(deployment_stream(event.deployment), transaction.now)
    if deployment.is_limited:
        where = environment_stream(deployment.recorded_plan.environment)
        transaction.record(where, Environment.Completed(deployment=deployment.id))


def _taken_back(deployment: Deployment, target: Target) -> tuple[str, ...]:
    # A rollback that succeeded: neither what it took back nor the older record of what it brought
    # back may be chosen by the next one, or rollbacks would go back and forth between two.
    if deployment.rollback_of is None:
        return ()
    workspace = deployment.recorded_plan.workspace_of
    return tuple(
        name
        for name in target.healthy
        if target.revisions[name].deployment == deployment.rollback_of
        or (target.revisions[name].workspace == workspace)
    )


def _identify(process: str, reacted_to: str, index: int) -> CommandRef:
    digest = hashlib.sha256(f"{process}\n{reacted_to}\n{index}".encode()).hexdigest()
    return CommandRef(digest, digest)
