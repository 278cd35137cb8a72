"""Rollback, immediate: the undoing of a running deployment, and the plan that brings one back."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from .errors import StateConflictError
from .plan import Plan, PlannedStage
from .stages import (
    HealthSpec,
    MonitorSpec,
    RestoreSpec,
    RetireSpec,
    SnapshotSpec,
    StartSpec,
    SwitchSpec,
)
from .stages.retire import Which

TRIES = 3
"""Of each step back: what is half undone is worse than what is late."""
BRING_UP_SECONDS = 120.0
"""For the old revision to be started again, where it is gone; its health comes on top."""

_OF_A_STRATEGY = (SnapshotSpec, StartSpec, HealthSpec, SwitchSpec, MonitorSpec, RetireSpec)


def unwind(plan: Plan, begun: Collection[str]) -> tuple[PlannedStage, ...]:
    """Return the stages that undo a deployment, given the names of the stages ever begun.

    A stage that was begun may have had its effect, whatever is known of its end: traffic goes
    back if a switch was begun, then what was started ends. Nothing to undo: nothing.
    """
    steps = {type(stage.spec): stage for stage in plan.stages if stage.name in begun}
    undoing: list[PlannedStage] = []
    if switch := steps.get(SwitchSpec):
        undoing.append(_restore(switch, plan))
    if start := steps.get(StartSpec):
        undoing.append(_end(start, plan, tuple(stage.name for stage in undoing)))
    return tuple(undoing)


def redeploy(plan: Plan, workspace_of: str) -> Plan:
    """Return the plan that brings an earlier deployment's version back, given its recorded plan.

    Only what its strategy expanded into is done again, in the workspace of the deployment named:
    nothing is built anew. Errors: StateConflictError for a plan that deployed nothing.
    """
    stages = [stage for stage in plan.stages if isinstance(stage.spec, _OF_A_STRATEGY)]
    if not stages:
        message = f"Version {plan.version} of {plan.service} was not deployed, so it cannot return."
        raise StateConflictError(message, legal_actions=[])
    names = {stage.name for stage in stages}
    return msgspec.structs.replace(
        plan,
        source=None,
        workspace_of=workspace_of,
        stages=tuple(_only_after(stage, names) for stage in stages),
    )


def _restore(switch: PlannedStage, plan: Plan) -> PlannedStage:
    patience = sum(stage.timeout for stage in plan.stages if isinstance(stage.spec, HealthSpec))
    return PlannedStage(
        name=_undo(switch),
        spec=RestoreSpec(),
        timeout=BRING_UP_SECONDS + patience,
        attempts=TRIES,
        backoff=1.0,
    )


def _end(start: PlannedStage, plan: Plan, needs: tuple[str, ...]) -> PlannedStage:
    retire = next(stage for stage in plan.stages if isinstance(stage.spec, RetireSpec))
    drain = retire.spec.drain if isinstance(retire.spec, RetireSpec) else 0.0
    return PlannedStage(
        name=_undo(start),
        spec=RetireSpec(which=Which.NEW, drain=drain),
        needs=needs,
        timeout=retire.timeout,
        attempts=TRIES,
        backoff=1.0,
    )


def _undo(stage: PlannedStage) -> str:
    strategy, _, step = stage.name.rpartition(".")
    return f"{strategy}.undo_{step}"


def _only_after(stage: PlannedStage, names: Collection[str]) -> PlannedStage:
    needs = tuple(need for need in stage.needs if need in names)
    return msgspec.structs.replace(stage, needs=needs)
