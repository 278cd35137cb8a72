"""health: the checks asked of each new instance."""

from __future__ import annotations

import msgspec

from ..health import HealthPolicy


class HealthSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="health"):
    """Which checks, how patiently, and how much health is enough."""

    policy: HealthPolicy
