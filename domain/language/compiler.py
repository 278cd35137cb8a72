"""The compiler: a pipeline's definition becomes a graph once, and the graph a plan per request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ..commands import RequestDeployment
from ..errors import InvalidError
from ..health import HealthPolicy, Require
from ..plan import Plan, PlannedStage, levels, spell
from ..stages import CheckSpec, RunSpec, StartSpec, WaitSpec
from ..strategies import blue_green
from .argv import declared
from .environment import EnvironmentDocument
from .fields import seconds
from .pipeline import Check, Deploy, Pipeline, Retry, Run, Stage, Wait
from .rollout import asked
from .versions import check_artifact, check_version

MAX_BYTES = 128 * 1024
"""Of a definition and of its graph: both must fit into the payload of one event."""
MARGIN_SECONDS = 30.0

KEPT = 256
"""Definitions whose graphs are kept."""


class Compiled(msgspec.Struct, frozen=True):
    """A definition's graph; what is still open is the version, the environment, the artifact."""

    definition: Pipeline
    stages: tuple[PlannedStage, ...]
    spelled: bytes
    """The canonical JSON of the stages, which goes into the hash of each plan."""


def compile_pipeline(pipeline: Pipeline) -> Compiled:
    """Return the definition's graph; equal definitions are compiled once.

    Errors: InvalidError for a graph that is too large, and for a source not yet absolute.
    """
    return _compile(_Definition(pipeline))


def compile_stored(sha256: str, document: Mapping[str, Any]) -> Compiled:
    """Return the graph of a stored document, which is read and compiled once for its SHA-256."""
    if sha256 not in _stored:
        while len(_stored) >= KEPT:
            _stored.popitem(last=False)
        _stored[sha256] = compile_pipeline(Pipeline.parse(document))
    return _stored[sha256]


def compilations() -> int:
    """Return how many definitions were compiled in this process."""
    return _compile.cache_info().misses


def bind(compiled: Compiled, request: RequestDeployment, pipeline_version: int) -> Plan:
    """Return the plan of a request; InvalidError for a wrong version or artifact."""
    definition = compiled.definition
    check_version(request.version, definition.versioning)
    if request.artifact is not None:
        check_artifact(request.artifact)
    return Plan(
        pipeline=definition.name,
        pipeline_version=pipeline_version,
        service=definition.service,
        environment=request.environment,
        version=request.version,
        artifact=request.artifact,
        source=definition.source,
        stages=compiled.stages,
    )


def is_routed(plan: Plan) -> bool:
    """Say whether a plan starts or checks a service, which then needs a route."""
    return any(isinstance(stage.spec, StartSpec | CheckSpec) for stage in plan.stages)


def check_routable(
    plan: Plan, environment: EnvironmentDocument, serving: Collection[str] = ()
) -> None:
    """Raise InvalidError if a plan starts or checks a service that has no route.

    `serving` are the names of the services deployed there already.
    """
    if is_routed(plan) and environment.address_of(plan.service, serving) is None:
        message = f"{environment.name} has no route for {plan.service}."
        raise InvalidError(message, pointer="/environment")


class _Definition:
    """A pipeline that is the same as any other with the same document."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __hash__(self) -> int:
        return hash(self.pipeline.canonical)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Definition) and self.pipeline.canonical == other.pipeline.canonical
        )


@lru_cache(maxsize=KEPT)
def _compile(definition: _Definition) -> Compiled:
    pipeline = definition.pipeline
    if pipeline.source is not None and not pipeline.source.startswith("/"):
        message = "The source is an absolute folder once it is stored."
        raise InvalidError(message, pointer="/source")
    needed = {stage.name: stage.needs for stage in pipeline.stages}
    deploy = next((s.name for s in pipeline.stages if isinstance(s, Deploy)), None)
    followers = _followers(deploy, needed) if deploy else []
    stages = [
        planned
        for stage in pipeline.stages
        for planned in _plan(stage, _after_monitor(stage.needs, deploy), followers)
    ]
    levels(stages)
    size = max(len(msgspec.json.encode(stages)), len(pipeline.canonical))
    if size > MAX_BYTES:
        message = f"This definition has {size} bytes, more than {MAX_BYTES}."
        raise InvalidError(message)
    return Compiled(pipeline, tuple(stages), spell(tuple(stages)))


_stored: OrderedDict[str, Compiled] = OrderedDict()


def _followers(deploy: str, needed: Mapping[str, Sequence[str]]) -> list[str]:
    found = {deploy}
    while more := {n for n, needs in needed.items() if found.intersection(needs)} - found:
        found |= more
    return [name for name in needed if name in found and name != deploy]


def _after_monitor(needs: Sequence[str], deploy: str | None) -> tuple[str, ...]:
    return tuple(f"{deploy}.monitor" if need == deploy else need for need in needs)


def _plan(
    stage: Stage, needs: tuple[str, ...], followers: Sequence[str]
) -> tuple[PlannedStage, ...]:
    match stage:
        case Run():
            spec = RunSpec(
                argv=tuple(stage.run), env=declared(stage.env), idempotent=stage.idempotent
            )
            planned = PlannedStage(name=stage.name, spec=spec, needs=needs)
            return (_tried(planned, stage.timeout, stage.retry),)
        case Check():
            policy = HealthPolicy(checks=asked(stage.check), require=Require.HEALTHY)
            planned = PlannedStage(name=stage.name, spec=CheckSpec(policy=policy), needs=needs)
            return (_tried(planned, stage.timeout, stage.retry),)
        case Wait():
            return (_wait(stage, needs),)
        case Deploy():
            return blue_green.expand(stage, followers)
        case _:
            raise TypeError(stage)


def _tried(stage: PlannedStage, timeout: str, retry: Retry) -> PlannedStage:
    return msgspec.structs.replace(
        stage,
        timeout=seconds(timeout),
        attempts=retry.attempts,
        backoff=seconds(retry.backoff),
    )


def _wait(stage: Wait, needs: tuple[str, ...]) -> PlannedStage:
    span = seconds(stage.wait)
    spec = WaitSpec(seconds=span)
    return PlannedStage(name=stage.name, spec=spec, needs=needs, timeout=span + MARGIN_SECONDS)
