"""start: a new revision beside what is live, on fresh ports."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..health import HealthPolicy
from ..ports import Instance, RevisionSpec, SecretRef, SecretStore
from ..target import Place, Revision, Target
from .work import Outcome, Work, deaths, failed, launch, revision_id, succeeded


class StartSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="start"):
    """The command of one instance, how many of it, and the health asked of each."""

    argv: tuple[str, ...]
    capacity: int
    env: dict[str, str | SecretRef] = {}
    policy: HealthPolicy


async def perform(spec: StartSpec, work: Work) -> Outcome:
    """Start the instances; those that this try has started already are kept."""
    revision = _revision(spec, work)
    await work.prepare()
    instances = await work.outside.platform.start(
        work.effect, revision_spec(revision, work.outside.secrets)
    )
    started = Target.RevisionStarted(
        deployment=work.deployment.id, revision=revision, instances=places(instances)
    )
    if ended := deaths(instances):
        return msgspec.structs.replace(failed(ended), facts=(started,))
    return succeeded(started, message=f"{len(instances)} instances of {revision.version}")


def revision_spec(revision: Revision, secrets: SecretStore) -> RevisionSpec:
    """Return how the platform brings a recorded revision up, its secrets fetched now."""
    command = launch(
        revision.argv,
        revision.env,
        secrets=secrets,
        values=revision.values,
        workspace=revision.workspace,
        path=revision.path,
        inherit=revision.inherit,
    )
    return RevisionSpec(revision.id, revision.version, command, revision.capacity)


def places(instances: Sequence[Instance]) -> tuple[Place, ...]:
    """Return where instances listen, as the log keeps it."""
    return tuple(Place(instance.host, instance.port, instance.pid) for instance in instances)


def _revision(spec: StartSpec, work: Work) -> Revision:
    plan, settings = work.deployment.recorded_plan, work.environment["platform"]
    return Revision(
        id=revision_id(work.deployment.id, work.effect.key.attempt),
        version=plan.version,
        deployment=work.deployment.id,
        workspace=work.workspace,
        argv=spec.argv,
        capacity=spec.capacity,
        values=work.values,
        env=spec.env,
        path=tuple(settings.get("path") or ()),
        inherit=tuple(settings.get("inherit") or ()),
        policy=spec.policy,
    )
