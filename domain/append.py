"""What goes to the log in one transaction: drafts, their commands, and when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from .event import CommandRef, Event, Fence, Header, Recorded, sha256_hex


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class Due(msgspec.Struct, frozen=True, gc=False):
    """When a deployment's owner must look at it again; `at` None: it is final, forget it."""

    stream: str
    at: datetime | None


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to act for one deployment's stream; an append under an older token is refused."""

    stream: str
    token: int
    owner: str


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Events for one transaction, over any number of streams: all are stored or none."""

    drafts: tuple[Draft, ...]
    commands: tuple[CommandRef, ...]
    """Ids this append settles, the asked one first; a known first id is answered, not repeated."""
    due: tuple[Due, ...] = ()
    lease: Lease | None = None
    expects: Mapping[str, int] = {}
    """Versions of streams that were read for the decision and are not written."""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """Where an append stands in the log."""

    first: int
    last: int
    events: tuple[Recorded, ...] = ()
    known: bool = False


def header_of(draft: Draft, payload: bytes, recorded_at: datetime) -> Header:
    """Return the header under which a draft is stored; `payload` is its encoded line 2.

    Errors: ValueError for an `occurred_at` without a time zone.
    """
    event = draft.event
    return Header(
        draft.stream,
        draft.version,
        event.TOPIC,
        event.VERSION,
        _utc(draft.occurred_at),
        recorded_at,
        draft.actor,
        draft.environment,
        draft.service,
        draft.deployment,
        draft.causation,
        draft.correlation,
        draft.command,
        str(draft.fence) if draft.fence is not None else None,
        sha256_hex(payload),
    )


def _utc(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.utcoffset() is None:
        message = "an instant needs its time zone"
        raise ValueError(message)
    return at.astimezone(UTC)
