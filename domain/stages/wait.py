"""wait: nothing, for a while."""

from __future__ import annotations

import msgspec


class WaitSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="wait"):
    """How many seconds."""

    seconds: float
