"""Handlers: what each command of a person decides; one function a command, a table at the end.

Each gets the command and a `Door.Visit`: the transaction that it fills and the streams that it may
load. A refusal is raised before anything is stored, so it leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from uuid_utils.compat import uuid7

from . import definition, environment
from .admission import admit, is_limited
from .commands import (
    AbortDeployment,
    Command,
    DefineEnvironment,
    DefinePipeline,
    RequestDeployment,
    RetryDeployment,
    RollbackDeployment,
)
from .definition import Definition
from .deployment import Deployment, Status
from .deployment import stream_of as deployment_stream
from .environment import Environment
from .errors import (
    NotAvailableError,
    PreconditionFailedError,
    PreconditionRequiredError,
    StateConflictError,
    UnknownReferenceError,
)
from .event import Sealed
from .language.compiler import (
    bind,
    check_routable,
    compile_pipeline,
    compile_stored,
    is_routed,
)
from .language.environment import EnvironmentDocument
from .language.parsing import addressed
from .language.pipeline import Pipeline
from .plan import Plan
from .rollback import redeploy
from .streams import Reading
from .target import Target
from .target import stream_of as target_stream
from .transaction import Transaction


class Visit(msgspec.Struct, frozen=True):
    """One command at the door."""

    transaction: Transaction
    streams: Reading
    reason: Sealed | None = None
    """The command's reason, sealed under the key of who asks."""
    allow: Callable[[str], str] = str
    """Returns the real folder of a pipeline's source, or refuses it with InvalidError."""


async def define_environment(command: DefineEnvironment, visit: Visit) -> str:
    """Store an environment's document unless it is the one in force."""
    document = EnvironmentDocument.parse(
        addressed(command.document, "Environment", command.name)
    ).document()
    before = await visit.streams.load(Environment, environment.stream_of(command.name))
    _check_version(before.defined, command.if_match)
    if document != before.document:
        await visit.streams.into(visit.transaction, before.stream)
        visit.transaction.record(before.stream, Environment.Defined(document=document))
    return before.stream


async def define_pipeline(command: DefinePipeline, visit: Visit) -> str:
    """Store a pipeline's next version unless it is the newest already."""
    pipeline = Pipeline.parse(addressed(command.document, "Pipeline", command.name))
    if pipeline.source is not None:
        pipeline = pipeline.model_copy(update={"source": visit.allow(pipeline.source)})
    compile_pipeline(pipeline)
    before = await visit.streams.load(Definition, definition.stream_of(command.name))
    _check_version(before.version, command.if_match)
    if pipeline.document() != before.document:
        await visit.streams.into(visit.transaction, before.stream)
        event = Definition.Defined(document=pipeline.document(), sha256=pipeline.sha256())
        visit.transaction.record(before.stream, event)
    return before.stream


async def request_deployment(command: RequestDeployment, visit: Visit) -> str:
    """Plan a deployment and let it hold its target, or stand in line."""
    if command.inputs:
        raise NotAvailableError(feature="inputs", pointer="/inputs")
    where = await _known_environment(command.environment, visit)
    stored = await visit.streams.load(Definition, definition.stream_of(command.pipeline))
    if stored.version == 0:
        raise UnknownReferenceError(kind="pipeline", name=command.pipeline, pointer="/pipeline")
    compiled = compile_stored(stored.sha256, stored.document)
    plan = bind(compiled, command, stored.version)
    if is_routed(plan):
        document = EnvironmentDocument.parse(where.document)
        check_routable(plan, document, where.first_service)
    requested = Deployment.Requested(plan=plan, plan_hash=plan.hash(compiled.spelled))
    return await _open(requested, where, visit)


async def abort_deployment(command: AbortDeployment, visit: Visit) -> str:
    """Note that somebody wants a deployment ended; twice is once."""
    deployment = await _known_deployment(command.deployment, visit)
    if deployment.is_final:
        raise _conflict(deployment, "be aborted")
    if not deployment.is_abort_wanted:
        await visit.streams.into(visit.transaction, deployment.stream)
        visit.transaction.record(deployment.stream, Deployment.AbortRequested(reason=visit.reason))
        visit.transaction.look_again(deployment.stream, visit.transaction.now)
    return deployment.stream


async def rollback_deployment(command: RollbackDeployment, visit: Visit) -> str:
    """Undo a running deployment, or bring back what was healthy before a finished one."""
    deployment = await _known_deployment(command.deployment, visit)
    if deployment.is_final:
        return await _take_back(deployment, visit)
    if not deployment.is_rollback_wanted:
        await visit.streams.into(visit.transaction, deployment.stream)
        visit.transaction.record(
            deployment.stream, Deployment.RollbackRequested(reason=visit.reason)
        )
        visit.transaction.look_again(deployment.stream, visit.transaction.now)
    return deployment.stream


async def retry_deployment(command: RetryDeployment, visit: Visit) -> str:
    """Try again what needs an operator; of a finished one, its plan as a new one linked to it."""
    before = await _known_deployment(command.deployment, visit)
    if before.status is Status.NEEDS_OPERATOR:
        await visit.streams.into(visit.transaction, before.stream)
        visit.transaction.record(before.stream, Deployment.RetryRequested(reason=visit.reason))
        visit.transaction.look_again(before.stream, visit.transaction.now)
        return before.stream
    if not before.is_final:
        raise _conflict(before, "be retried")
    plan = before.recorded_plan
    where = await _known_environment(plan.environment, visit)
    requested = Deployment.Requested(plan=plan, plan_hash=plan.hash(), retry_of=before.id)
    return await _open(requested, where, visit)


HANDLERS: dict[type[Command], Callable[[Any, Visit], Awaitable[str]]] = {
    DefineEnvironment: define_environment,
    DefinePipeline: define_pipeline,
    RequestDeployment: request_deployment,
    AbortDeployment: abort_deployment,
    RollbackDeployment: rollback_deployment,
    RetryDeployment: retry_deployment,
}


def legal_actions(deployment: Deployment) -> list[str]:
    """Return what a person may do with a deployment as it stands."""
    if deployment.status is Status.NEEDS_OPERATOR:
        return ["retry"] if deployment.is_undoing else ["retry", "abort", "rollback"]
    if not deployment.is_final:
        return ["abort", "rollback"]
    return ["retry", "rollback"] if deployment.status is Status.SUCCEEDED else ["retry"]


async def _open(requested: Deployment.Requested, where: Environment, visit: Visit) -> str:
    transaction, plan = visit.transaction, requested.plan
    new = str(uuid7())
    await visit.streams.into(transaction, where.stream, target_stream(plan.target))
    limited = is_limited(where)
    event = msgspec.structs.replace(requested, reason=visit.reason, is_limited=limited)
    transaction.record(deployment_stream(new), event)
    if where.document["platform"].get("listen") and not where.first_service:
        transaction.record(where.stream, Environment.Listened(service=plan.service))
    admit(transaction, new, transaction.state(Target, target_stream(plan.target)), where)
    return deployment_stream(new)


async def _take_back(deployment: Deployment, visit: Visit) -> str:
    target = await visit.streams.load(Target, target_stream(deployment.recorded_plan.target))
    live = target.live
    if deployment.status is not Status.SUCCEEDED or not live or live.deployment != deployment.id:
        raise _conflict(deployment, "be rolled back: it is not what is live", but="rollback")
    where = await _known_environment(deployment.recorded_plan.environment, visit)
    healthy = target.healthy_before(live.id, where.document["history_limit"])
    if healthy is None:
        why = "be rolled back: no earlier healthy revision is kept"
        raise _conflict(deployment, why, but="rollback")
    source = await visit.streams.existing(Deployment, deployment_stream(healthy.deployment))
    plan: Plan = redeploy(source.recorded_plan, workspace_of=healthy.workspace)
    requested = Deployment.Requested(plan=plan, plan_hash=plan.hash(), rollback_of=deployment.id)
    new = await _open(requested, where, visit)
    await visit.streams.into(visit.transaction, deployment.stream)
    annotation = Deployment.Linked(rolled_back_by=new.partition(":")[2])
    visit.transaction.record(deployment.stream, annotation)
    return new


async def _known_environment(name: str, visit: Visit) -> Environment:
    where = await visit.streams.load(Environment, environment.stream_of(name))
    if where.version == 0:
        raise UnknownReferenceError(kind="environment", name=name, pointer="/environment")
    return where


async def _known_deployment(name: str, visit: Visit) -> Deployment:
    return await visit.streams.existing(Deployment, deployment_stream(name))


def _check_version(version: int, if_match: int | None) -> None:
    if version and if_match is None:
        raise PreconditionRequiredError
    if if_match is not None and if_match != version:
        raise PreconditionFailedError(etag=version)


def _conflict(deployment: Deployment, action: str, but: str = "") -> StateConflictError:
    return StateConflictError(
        status=deployment.status.value,
        action=action,
        legal_actions=[name for name in legal_actions(deployment) if name != but],
    )
