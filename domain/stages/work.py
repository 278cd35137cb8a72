"""Work: everything one try of a stage may use, and how it can come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from ..event import Event
from ..ports import (
    Blobs,
    Clock,
    Effect,
    EffectKey,
    Ended,
    Instance,
    Launch,
    Platform,
    Probe,
    SecretRef,
    SecretStore,
)

if TYPE_CHECKING:
    from ..deployment import Deployment
    from ..plan import PlannedStage
    from ..target import Target


_UNDONE = ("StartSpec", "SwitchSpec", "RetireSpec")
"""Kinds that change at once what an undoing changes back."""
CUT = "Only the beginning of what it printed is kept."


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a try ended; `facts` are the target's events that go into the same append."""

    status: str
    message: str | None = None
    output: str | None = None
    lost: bool = False
    unknown: bool = False
    """Whether nobody can know what it did, and it must not be done twice."""
    facts: tuple[Event, ...] = ()


def succeeded(*facts: Event, message: str | None = None, output: str | None = None) -> Outcome:
    """Return success, with what it changed."""
    return Outcome(status="succeeded", message=message, output=output, facts=facts)


def failed(message: str, output: str | None = None) -> Outcome:
    """Return a decided failure."""
    return Outcome(status="failed", message=message, output=output)


def errored(message: str, *, lost: bool = False) -> Outcome:
    """Return that it could not be decided."""
    return Outcome(status="errored", message=message, lost=lost)


def unknown(message: str) -> Outcome:
    """Return that nobody can know what it did."""
    return Outcome(status="errored", message=message, unknown=True)


@dataclass(frozen=True)
class Outside:
    """The ports that stages use."""

    platform: Platform
    probe: Probe
    secrets: SecretStore
    blobs: Blobs
    clock: Clock


@dataclass(frozen=True)
class Work:
    """One try of one stage."""

    deployment: Deployment
    target: Target
    stage: PlannedStage
    effect: Effect
    environment: Mapping[str, Any]
    """The environment's document."""
    outside: Outside
    is_inherited: bool = False
    """Whether an owner before has begun this try, where the platform makes that matter."""

    @property
    def started_at(self) -> datetime:
        """When this try's intent was recorded; a takeover goes on counting from there."""
        return self.deployment.attempts[self.stage.name].started_at

    @property
    def listen(self) -> str | None:
        """The public address of the service, `host:port`, if it has one."""
        platform = self.environment["platform"]
        routes: Mapping[str, str] = platform.get("routes") or {}
        return routes.get(self.deployment.recorded_plan.service) or platform.get("listen")

    @property
    def workspace(self) -> str:
        """The deployment whose workspace is used."""
        return self.deployment.recorded_plan.workspace_of or self.deployment.id

    @property
    def new_revision(self) -> str | None:
        """The id of the revision that this deployment starts, once that was tried."""
        return next(iter(self.new_revisions), None)

    @property
    def new_revisions(self) -> tuple[str, ...]:
        """The revisions of all tries to start one, the newest first."""
        for stage in self.deployment.recorded_plan.stages:
            attempt = self.deployment.attempts.get(stage.name)
            if attempt is not None and type(stage.spec).__name__ == "StartSpec":
                numbers = range(attempt.number, 0, -1)
                return tuple(revision_id(self.deployment.id, number) for number in numbers)
        return ()

    @property
    def values(self) -> dict[str, str]:
        """What the placeholders stand for, but `{workspace}` and `{port}`."""
        plan = self.deployment.recorded_plan
        return {
            "version": plan.version,
            "service": plan.service,
            "environment": plan.environment,
            "region": "",
            "artifact": plan.artifact or "",
            "deployment": self.deployment.id,
        }

    def launch(self, argv: tuple[str, ...], env: Mapping[str, str | SecretRef]) -> Launch:
        """Return how a command of this deployment is started, its secrets fetched now.

        Errors: SecretMissingError.
        """
        settings = self.environment["platform"]
        return launch(
            argv,
            env,
            secrets=self.outside.secrets,
            values=self.values,
            workspace=self.workspace,
            path=tuple(settings.get("path") or ()),
            inherit=tuple(settings.get("inherit") or ()),
        )

    def aside(self, name: str, seconds: float) -> Effect:
        """Return an effect of its own for a side question, such as a command that checks health."""
        key = EffectKey(self.deployment.id, f"{self.stage.name}.{name}", self.effect.key.attempt)
        deadline = self.outside.clock.now() + timedelta(seconds=seconds)
        return msgspec.structs.replace(self.effect, key=key, deadline=deadline)

    async def close_the_way(self) -> None:
        """Let nothing come any more of what the way forward has asked for and was not answered.

        Whoever undoes it begins with this: what was cancelled on its way may arrive late.
        """
        for stage in self.deployment.recorded_plan.stages:
            attempt = self.deployment.attempts.get(stage.name)
            if attempt is None or type(stage.spec).__name__ not in _UNDONE:
                continue
            # What has succeeded was answered, so it has come.
            if attempt.status == "succeeded":
                continue
            for number in range(1, attempt.number + 1):
                key = EffectKey(self.deployment.id, stage.name, number)
                await self.outside.platform.stop(msgspec.structs.replace(self.effect, key=key))

    async def prepare(self) -> None:
        """Make the workspace if it is not there yet."""
        source = self.deployment.recorded_plan.source
        await self.outside.platform.prepare(self.effect, self.workspace, source)

    async def conclude(self, ended: Ended) -> Outcome:
        """Return what a command's end means, its output stored."""
        if ended.lost:
            return errored(describe(ended, self.stage.timeout), lost=True)
        output = await self.outside.blobs.put(ended.output) if ended.output else None
        if ended.exit_code == 0:
            return succeeded(message=CUT if ended.truncated else None, output=output)
        how = describe(ended, self.stage.timeout)
        return failed(f"{how} {CUT}" if ended.truncated else how, output)


def launch(
    argv: tuple[str, ...],
    env: Mapping[str, str | SecretRef],
    *,
    secrets: SecretStore,
    **settings: Any,
) -> Launch:
    """Return a launch whose secret values are fetched, and named as what must be redacted."""
    fetched = {k: secrets.resolve(v.secret) for k, v in env.items() if isinstance(v, SecretRef)}
    plain = {k: v for k, v in env.items() if isinstance(v, str)}
    return Launch(argv, env={**plain, **fetched}, secrets=tuple(fetched.values()), **settings)


def revision_id(deployment: str, attempt: int) -> str:
    """Return the id of the revision that a start's try brings up."""
    return f"{deployment}.{attempt}"


def deaths(instances: Sequence[Instance]) -> str | None:
    """Say in one line how many instances have ended, and how one of them did; None if all run."""
    dead = [instance for instance in instances if not instance.alive]
    if not instances:
        return "No instance runs."
    if not dead:
        return None
    one = dead[0]
    how = [f"exit code {one.exit_code}"] if one.exit_code is not None else []
    how += [one.detail] if one.detail else []
    sentence = f"{len(dead)} of {len(instances)} instances have ended"
    return f"{sentence}: {', '.join(how)}" if how else sentence


def describe(ended: Ended, timeout: float) -> str:
    """Say in one line how a command ended."""
    if ended.lost:
        return "Its result was lost with the agent."
    if ended.error:
        return ended.error
    if ended.timed_out:
        return f"It did not end within {timeout:g} s and was killed."
    if ended.signal is not None:
        return f"It was ended by signal {ended.signal}."
    return f"It exited with {ended.exit_code}."
