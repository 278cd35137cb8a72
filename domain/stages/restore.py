"""restore: traffic goes back to what the snapshot says, started again where it is gone."""

from __future__ import annotations

import msgspec

from ..event import Event
from ..ports import Route
from ..target import Revision, Serving, Target
from .asking import Address, ask
from .start import places, revision_spec
from .work import Outcome, Work, failed, succeeded


class RestoreSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restore"):
    """Nothing to say: the snapshot says it."""


async def perform(_spec: RestoreSpec, work: Work) -> Outcome:
    """Route back; a revision that is gone is started and asked for its health first."""
    before = work.target.snapshot
    revision = work.target.revisions.get(before.live) if before and before.live else None
    if before is None or revision is None:
        return await _serve_nothing(work)
    facts, complaint = await _bring_up(work, revision)
    if complaint is not None:
        return msgspec.structs.replace(complaint, facts=facts)
    await work.outside.platform.route(work.effect, Route(before.listen, before.weights))
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
    platform = work.outside.platform
    before = await platform.instances(work.target.name, revision.id)
    # Also where all run: it may be about to be retired, and must not be any more.
    instances = await platform.start(work.effect, revision_spec(revision, work.outside.secrets))
    if all(instance.alive for instance in before) and list(before) == list(instances):
        return (), None
    detail = "it was gone when traffic had to go back"
    restored = Target.Restored(revision=revision.id, detail=detail, instances=places(instances))
    report = await ask(work, revision.policy, [Address(i.host, i.port) for i in instances])
    verdict = report.judge(revision.policy)
    if verdict.status == "succeeded":
        return (restored,), None
    return (restored,), failed(verdict.message or "It did not come up again.")
