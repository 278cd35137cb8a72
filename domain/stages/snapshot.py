"""snapshot: what the target serves before anything is changed."""

from __future__ import annotations

import msgspec

from ..target import Target
from .work import Outcome, Work, succeeded


class SnapshotSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """Nothing to say: the whole target is taken down in writing."""


async def perform(_spec: SnapshotSpec, work: Work) -> Outcome:
    """Record what is served, which is what a rollback restores."""
    serving = work.target.serving
    taken = Target.SnapshotTaken(deployment=work.deployment.id, serving=serving)
    live = work.target.live
    return succeeded(taken, message=f"{live.version} is live" if live else "nothing is live")
