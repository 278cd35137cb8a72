"""check: questions asked at the service's public address."""

from __future__ import annotations

import msgspec

from ..health import HealthPolicy


class CheckSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="check"):
    """The questions; the answer must satisfy the policy."""

    policy: HealthPolicy
