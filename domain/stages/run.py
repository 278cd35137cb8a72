"""run: a command, carried to its end in the deployment's workspace."""

from __future__ import annotations

import msgspec


class SecretRef(msgspec.Struct, frozen=True):
    """A value that is fetched at the moment of use: `env:NAME` or `file:PATH`."""

    secret: str


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """An argument list and what is declared for its environment."""

    argv: tuple[str, ...]
    env: dict[str, str | SecretRef] = {}
    idempotent: bool = False
    """Whether it may run again where its result was lost."""
