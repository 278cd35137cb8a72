"""snapshot: what the target serves before anything is changed."""

from __future__ import annotations

import msgspec


class SnapshotSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """Nothing to say: the whole target is taken down in writing."""
