"""What goes to the log in one transaction: drafts, their commands, and when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from .event import CommandRef, Event, Fence, Recorded


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way into the log; the writer adds `recorded_at` and the position."""

    stream: str
    version: int
    """The stream version it must get: the one before it must be the newest."""
    event: Event
    occurred_at: datetime
    actor: str
    command: CommandRef
    environment: str | None = None
    service: str | None = None
    deployment: str | None = None
    causation: str | None = None
    correlation: str | None = None
    fence: Fence | None = None


class Due(msgspec.Struct, frozen=True):
    """When a deployment's owner must look at it again; `at` None: it is final, forget it."""

    stream: str
    at: datetime | None


class Lease(msgspec.Struct, frozen=True):
    """The right to act for one deployment's stream; an append under an older token is refused."""

    stream: str
    token: int
    owner: str


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """Events for one transaction, over any number of streams: all are stored or none."""

    drafts: tuple[Draft, ...]
    commands: tuple[CommandRef, ...]
    """Ids this append settles, the asked one first; a known first id is answered, not repeated."""
    due: tuple[Due, ...] = ()
    lease: Lease | None = None
    expects: Mapping[str, int] = {}
    """Versions of streams that were read for the decision and are not written."""


class Appended(msgspec.Struct, frozen=True):
    """Where an append stands in the log."""

    first: int
    last: int
    events: tuple[Recorded, ...] = ()
    known: bool = False
