"""Plan: the compiled graph of stages that a deployment carries out, with its hash.

A plan is recorded in the event that starts the deployment: what was approved is what runs, and a
replay does not depend on today's code. Ports, process ids, times and the deployment's id are no
part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

import msgspec

from .errors import CyclicPlanError, InvalidError
from .event import sha256_hex
from .language import canonical
from .stages import Spec

MAX_STAGES = 500


class PlannedStage(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the graph: what is done, after what, for how long at most, how often tried."""

    name: str
    spec: Spec
    needs: tuple[str, ...] = ()
    timeout: float = 600.0
    """Seconds one attempt may take."""
    attempts: int = 1
    backoff: float = 0.0
    """Seconds before the second attempt; doubled before each further one."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment does, in full."""

    pipeline: str
    pipeline_version: int
    service: str
    environment: str
    version: str
    artifact: str | None
    source: str | None
    """Absolute folder that is copied into the workspace."""
    workspace_of: str | None = None
    """The earlier deployment whose workspace is used; a rollback builds nothing anew."""
    stages: tuple[PlannedStage, ...]

    @property
    def target(self) -> str:
        """The target's name, `environment/service`."""
        return f"{self.environment}/{self.service}"

    def stage(self, name: str) -> PlannedStage:
        """Return the stage of a name; KeyError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def hash(self, stages: bytes | None = None) -> str:
        """Return `sha256:` and the SHA-256 of the plan's RFC 8785 JSON.

        `stages` is what `spell` returns for its stages, where that is known.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "stages"}
        spelled = {name: canonical.dumps(value) for name, value in fields.items()}
        spelled["stages"] = spell(self.stages) if stages is None else stages
        return "sha256:" + sha256_hex(canonical.joined(spelled))


def spell(stages: tuple[PlannedStage, ...]) -> bytes:
    """Return the RFC 8785 JSON of stages."""
    return canonical.dumps(msgspec.to_builtins(stages))


def ready(
    stages: Iterable[PlannedStage], done: set[str], begun: Collection[str]
) -> list[PlannedStage]:
    """Return the stages that may start: not begun, and everything they need is done."""
    return [s for s in stages if s.name not in begun and done.issuperset(s.needs)]


def levels(stages: Sequence[PlannedStage]) -> list[list[str]]:
    """Return the names in groups that may run at once, each group after the one before it.

    Errors: CyclicPlanError with the members of a cycle, InvalidError for a twin name, an unknown
    need, no stage at all or more than 500.
    """
    _check_names(stages)
    sorter = TopologicalSorter({stage.name: stage.needs for stage in stages})
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists the cycle against the arrows, its first member repeated at the end.
        raise CyclicPlanError(cycle=" → ".join(error.args[1]), pointer="/stages") from None
    groups: list[list[str]] = []
    while sorter.is_active():
        group = sorted(sorter.get_ready())
        groups.append(group)
        sorter.done(*group)
    return groups


def _check_names(stages: Sequence[PlannedStage]) -> None:
    if not 0 < len(stages) <= MAX_STAGES:
        message = f"A plan has 1 to {MAX_STAGES} stages, not {len(stages)}."
        raise InvalidError(message, pointer="/stages")
    names: set[str] = set()
    for index, stage in enumerate(stages):
        if stage.name in names:
            message = f"Two stages are named {stage.name}."
            raise InvalidError(message, pointer=f"/stages/{index}/name")
        names.add(stage.name)
    for index, stage in enumerate(stages):
        for need in stage.needs:
            if need not in names:
                message = f"{stage.name} needs {need}, and there is no such stage."
                raise InvalidError(message, pointer=f"/stages/{index}/needs")
