"""restore: traffic goes back to what the snapshot says, started again where it is gone."""

from __future__ import annotations

import msgspec

from ..errors import AddressTakenError, SecretMissingError
from ..event import Event
from ..ports import Route
from ..target import Place, Revision, Serving, Target
from .asking import Address, ask
from .start import places, revision_spec
from .work import Outcome, Work, deaths, failed, succeeded


class RestoreSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restore"):
    """Nothing to say: the snapshot says it."""


async def perform(_spec: RestoreSpec, work: Work) -> Outcome:
    """Route back; a revision that is gone is started and asked for its health first."""
    await work.close_the_way()
    before = work.target.snapshot
    revision = work.target.revisions.get(before.live) if before and before.live else None
    if before is None or revision is None:
        return await _serve_nothing(work)
    facts, complaint = await _bring_up(work, revision)
    if complaint is not None:
        return msgspec.structs.replace(complaint, facts=facts)
    try:
        await work.outside.platform.route(work.effect, Route(before.listen, before.weights))
    except AddressTakenError as error:
        # What was brought up is there all the same, and the log must know of it.
        return msgspec.structs.replace(failed(str(error)), facts=facts)
    routed = Target.Routed(deployment=work.deployment.id, serving=before)
    return succeeded(*facts, routed, message=f"{revision.version} is live again")


async def _serve_nothing(work: Work) -> Outcome:
    if work.listen is None:
        return succeeded(message="nothing was live before")
    await work.outside.platform.route(work.effect, Route(work.listen, {}))
    nothing = Serving(listen=work.listen)
    routed = Target.Routed(deployment=work.deployment.id, serving=nothing)
    return succeeded(routed, message="nothing was live before")


async def _bring_up(work: Work, revision: Revision) -> tuple[tuple[Event, ...], Outcome | None]:
    platform, known = work.outside.platform, work.target.places.get(revision.id)
    try:
        spec = revision_spec(revision, work.outside.secrets)
    except SecretMissingError:
        # What needs no start needs no secret.
        if await _all_run(work, revision.id, known):
            return (), None
        raise
    # Also where all run: it may be about to be retired, and must not be any more.
    instances = await platform.start(work.effect, spec)
    if places(instances) == known and not deaths(instances):
        return (), None
    detail = "it was gone when traffic had to go back"
    restored = Target.Restored(revision=revision.id, detail=detail, instances=places(instances))
    report = await ask(work, revision.policy, [Address(i.host, i.port) for i in instances])
    verdict = report.judge(revision.policy)
    if verdict.status == "succeeded":
        return (restored,), None
    return (restored,), failed(verdict.message or "It did not come up again.")


async def _all_run(work: Work, revision: str, known: tuple[Place, ...] | None) -> bool:
    instances = await work.outside.platform.instances(work.target.name, revision)
    return places(instances) == known and not deaths(instances)
