"""monitor: the new revision under real traffic, ready to be undone."""

from __future__ import annotations

import msgspec

from ..health import HealthPolicy


class MonitorSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="monitor"):
    """How long it is watched, and what fails it at once."""

    seconds: float
    policy: HealthPolicy
    """Asked again and again of each instance; `attempts` failures in a row of the sum fail it."""
    max_error_share: int
    """Basis points of 5xx answers allowed, once there are `min_requests`."""
    min_requests: int
