"""Who is known to a store: subjects behind opaque ids, and tokens without their secrets."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ...domain.access import Role

USE_NOTED_EVERY = timedelta(minutes=1)
"""The use of a token is noted no more often."""


class Subject(msgspec.Struct, frozen=True):
    """Whom an opaque subject id stands for; `name` is None once erased."""

    id: str
    kind: str
    """`user`, `service` or `system`."""
    name: str | None


class Token(msgspec.Struct):
    """A token without its secret."""

    id: str
    subject: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""
