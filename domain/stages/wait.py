"""wait: nothing, for a while."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from .work import Outcome, Work, succeeded


class WaitSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="wait"):
    """How many seconds."""

    seconds: float


async def perform(spec: WaitSpec, work: Work) -> Outcome:
    """Wait from the recorded start, so that a takeover does not begin anew."""
    until = work.started_at + timedelta(seconds=spec.seconds)
    while (left := (until - work.outside.clock.now()).total_seconds()) > 0:
        await work.outside.clock.sleep(left)
    return succeeded()
