"""switch: every new request goes to the new revision, in one step."""

from __future__ import annotations

import msgspec


class SwitchSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="switch"):
    """Nothing to say: blue-green switches all traffic at once."""
