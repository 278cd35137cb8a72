"""The language users write: a Pipeline of stages that run, check, wait or deploy; frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    model_validator,
)

from ..errors import InvalidError
from ..plan import MAX_STAGES, PlannedStage, levels
from ..stages import WaitSpec
from .argv import Argv, Env, Secret
from .document import Document, Written
from .fields import Duration, Name, Text, between, refuse, told_apart_by
from .parsing import Json
from .rollout import Checks, Rollout

MAX_TRIES = 10


class Retry(Written):
    """How often a stage is tried, and how long after the first failure; doubled each time."""

    attempts: Annotated[StrictInt, Field(ge=1, le=MAX_TRIES)] = 1
    backoff: Annotated[Duration, between("0s", "10m")] = "1s"


class Stage(Written):
    """What every kind of stage has: its name, and the names of those it comes after."""

    name: Name
    needs: Annotated[Sequence[Name], Field(max_length=MAX_STAGES), AfterValidator(tuple)] = ()


class Run(Stage):
    """A command, carried to its end in the deployment's workspace."""

    run: Argv
    timeout: Annotated[Duration, between("1ms", "24h")] = "10m"
    retry: Retry = Retry()
    idempotent: StrictBool = False
    """Whether it may run again where its result was lost."""
    env: Env = Field(default_factory=dict[str, str | Secret])


class Check(Stage):
    """Questions asked at the service's public address; all must be answered well."""

    check: Checks
    timeout: Annotated[Duration, between("1ms", "24h")] = "1m"
    retry: Retry = Retry()


class Wait(Stage):
    """Nothing, for a while."""

    wait: Annotated[Duration, between("1ms", "24h")]


class Deploy(Stage):
    """The service in its new version; its stages are `name.snapshot` to `name.retire`."""

    deploy: Rollout
    env: Env = Field(default_factory=dict[str, str | Secret])


def _refuse_unbuilt(stage: Json) -> Json:
    if isinstance(stage, Mapping) and "approve" in stage:
        message = "This build does not have stages that approve yet."
        refuse(message, "not-available", at="/approve")
    return stage


AnyStage = Annotated[
    Annotated[Run, Tag("$run")]
    | Annotated[Check, Tag("$check")]
    | Annotated[Wait, Tag("$wait")]
    | Annotated[Deploy, Tag("$deploy")],
    told_apart_by("run", "check", "wait", "deploy"),
    BeforeValidator(_refuse_unbuilt),
]


def _service(fields: dict[str, Any]) -> str:
    return str(fields.get("name", ""))


class Pipeline(Document):
    """How a version of a service is built, deployed and verified."""

    kind: Literal["Pipeline"] = "Pipeline"
    name: Name
    service: Name = Field(default_factory=_service)
    """The same as the name where it is left out."""
    versioning: Literal["semver", "pep440", "any"] = "semver"
    source: Text | None = None
    """The folder copied into each deployment's workspace; absolute once it is stored."""
    stages: Annotated[
        Sequence[AnyStage], Field(min_length=1, max_length=MAX_STAGES), AfterValidator(tuple)
    ]

    @model_validator(mode="after")
    def _has_one_graph(self) -> Self:
        # A definition's graph obeys the rules of a plan's, with its own names in the refuse.
        idle = WaitSpec(seconds=0)
        levels([PlannedStage(name=s.name, spec=idle, needs=tuple(s.needs)) for s in self.stages])
        deploying = [index for index, s in enumerate(self.stages) if isinstance(s, Deploy)]
        if len(deploying) > 1:
            message = "A pipeline has one deploy stage at most."
            raise InvalidError(message, pointer=f"/stages/{deploying[1]}/deploy")
        return self
