"""restore: traffic goes back to what the snapshot says, started again where it is gone."""

from __future__ import annotations

import msgspec


class RestoreSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="restore"):
    """Nothing to say: the snapshot says it."""
