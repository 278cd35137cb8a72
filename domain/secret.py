"""A reference to a secret: the value itself is fetched at the moment of use and never stored."""

from __future__ import annotations

import msgspec


class SecretRef(msgspec.Struct, frozen=True):
    """`env:NAME` or `file:PATH`."""

    secret: str
