"""Commands: frozen imperative messages; each names the permission it needs.

People's commands come in over HTTP and are the schema of their request bodies. Those of the
process managers are made by `processes/` and carry no permission: their right is the lease.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from .access import Permission
from .event import Event
from .plan import PlannedStage

MAX_REASON = 4_000
Reason = Annotated[str, Field(max_length=MAX_REASON)]


class Command(BaseModel):
    """What a person or a program asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    permission: ClassVar[Permission]


class DefineEnvironment(Command):
    """Store an environment's document; `if_match` is the stream version it was read at."""

    permission = Permission.ENVIRONMENT_DEFINE
    name: str
    document: dict[str, Any]
    if_match: int | None = None


class DefinePipeline(Command):
    """Store a new version of a pipeline's definition."""

    permission = Permission.PIPELINE_DEFINE
    name: str
    document: dict[str, Any]
    if_match: int | None = None


class RequestDeployment(Command):
    """Deploy a version of a pipeline's service to an environment."""

    permission = Permission.DEPLOYMENT_REQUEST
    pipeline: str
    version: str
    environment: str
    artifact: str | None = None
    reason: Reason | None = None
    inputs: dict[str, str] = {}


class AbortDeployment(Command):
    """End a deployment; what it did is undone."""

    permission = Permission.DEPLOYMENT_ABORT
    deployment: str
    reason: Reason | None = None


class RollbackDeployment(Command):
    """Undo a running deployment, or bring back what was healthy before a finished one."""

    permission = Permission.DEPLOYMENT_ROLLBACK
    deployment: str
    reason: Reason | None = None


class RetryDeployment(Command):
    """Try again: what needs an operator, or a finished deployment as a new one linked to it."""

    permission = Permission.DEPLOYMENT_RETRY
    deployment: str
    reason: Reason | None = None


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a process manager wants: a command whose right is the lease."""


class Start(Reaction, frozen=True, kw_only=True):
    """Begin a deployment that holds its target."""


class StartStage(Reaction, frozen=True, kw_only=True):
    """Try a stage once more."""

    stage: str
    attempt: int


class FinishStage(Reaction, frozen=True, kw_only=True):
    """Record how an attempt ended, with what it changed at the target."""

    stage: str
    attempt: int
    outcome: str
    message: str | None = None
    output: str | None = None
    lost: bool = False
    unknown: bool = False
    facts: tuple[Event, ...] = ()


class BeginRollback(Reaction, frozen=True, kw_only=True):
    """Undo what was done, by these stages."""

    cause: str
    stages: tuple[PlannedStage, ...]


class End(Reaction, frozen=True, kw_only=True):
    """Make a deployment final and let go of its target."""

    ending: str
    outcome_kind: str
    message: str | None = None
