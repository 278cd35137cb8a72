"""check: questions asked at the service's public address."""

from __future__ import annotations

import msgspec

from ..health import HealthPolicy
from .asking import Address, ask
from .work import Outcome, Work, failed


class CheckSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="check"):
    """The questions; the answer must satisfy the policy."""

    policy: HealthPolicy


async def perform(spec: CheckSpec, work: Work) -> Outcome:
    """Ask where the service's own users ask."""
    if work.listen is None:
        return failed("The environment has no route for this service.")
    report = await ask(work, spec.policy, [Address.parse(work.listen)])
    return report.judge(spec.policy)
