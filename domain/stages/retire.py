"""retire: a revision that serves nothing any more finishes what it has and ends."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Which(StrEnum):
    """Which revision is meant."""

    PREVIOUS = "previous"
    """What the snapshot says was live before."""
    NEW = "new"
    """What this deployment has started."""


class RetireSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="retire"):
    """Which revision, and how many seconds it may drain."""

    which: Which
    drain: float
