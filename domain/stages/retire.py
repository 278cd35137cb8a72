"""retire: a revision that serves nothing any more finishes what it has and ends."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ..target import Target
from .work import Outcome, Work, succeeded


class Which(StrEnum):
    """Which revisions are meant."""

    PREVIOUS = "previous"
    """Everything that runs beside what this deployment has started."""
    NEW = "new"
    """What this deployment has started."""


class RetireSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="retire"):
    """Which revisions, and how many seconds they may drain."""

    which: Which
    drain: float


async def perform(spec: RetireSpec, work: Work) -> Outcome:
    """Drain and end the revisions; those that have ended are no trouble."""
    if spec.which is Which.NEW:
        await work.close_the_way()
    names = _meant(spec, work)
    for name in names:
        await work.outside.platform.retire(work.effect, name, spec.drain)
    known = [name for name in names if name in work.target.running]
    facts = [Target.RevisionRetired(deployment=work.deployment.id, revision=n) for n in known]
    return succeeded(*facts, message=f"{len(names)} retired" if names else "nothing to retire")


def _meant(spec: RetireSpec, work: Work) -> list[str]:
    new = work.new_revisions
    if spec.which is Which.NEW:
        return [*new]
    # An earlier try may have started one of which the log knows nothing.
    others = (name for name in (*work.target.running, *new) if name not in new[:1])
    return [*dict.fromkeys(others)]
