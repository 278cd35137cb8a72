"""start: a new revision beside what is live, on fresh ports."""

from __future__ import annotations

import msgspec

from .run import SecretRef


class StartSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="start"):
    """The command of one instance, how many of it, and the health asked of each."""

    argv: tuple[str, ...]
    capacity: int
    env: dict[str, str | SecretRef] = {}
