"""Replaying one stream without a server: every event, and the state after it as it was served."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ...domain.errors import InvalidError, NotFoundError
from ...domain.event import Recorded
from ...domain.target import stream_of as target_stream
from ...domain.transaction import Aggregate, empty, fold
from ...projections import deployments, targets
from ...projections.replay import transitions
from ..wire.documents import EventDocument
from ..wire.shown import Shown

if TYPE_CHECKING:
    from ..assembly import Archive


class Transition(msgspec.Struct):
    """An event, and the state that it led to."""

    event: EventDocument
    state: Any
    """A deployment's status document; of any other stream its aggregate."""


class Replay:
    """One stream of an archive, up to a position."""

    def __init__(self, archive: Archive, upto: int) -> None:
        self._archive = archive
        self._upto = upto
        self._shown = Shown(archive.directory, archive.keyring)

    async def transitions(self, stream: str) -> list[Transition]:
        """Return every event of a stream with the state after it; NotFoundError if it has none."""
        events = await self._events(stream)
        if not events:
            raise NotFoundError(kind=stream.partition(":")[0])
        is_deployment = stream.startswith("deployment:")
        states = await self._statuses(events) if is_deployment else _aggregates(stream, events)
        named = {event.header.causation for event in events if event.header.causation}
        causes = await self._archive.log.positions_of(named)
        shown = await self._shown.events(events, causes)
        return [Transition(event, state) for event, state in zip(shown, states, strict=True)]

    async def _statuses(self, events: list[Recorded]) -> Sequence[object]:
        header = events[0].header
        there = iter(await self._events(target_stream(f"{header.environment}/{header.service}")))
        standing, coming = None, next(there, None)
        found: list[tuple[deployments.StatusDocument, targets.Place | None]] = []
        for recorded, document in transitions(events, deployments.apply):
            while coming is not None and coming.position <= recorded.position:
                standing, coming = targets.apply(standing, coming), next(there, None)
            found.append((document, standing.place if standing else None))
        return await self._shown.statuses(found)

    async def _events(self, stream: str) -> list[Recorded]:
        events = await self._archive.log.stream(stream)
        return [event for event in events if event.position <= self._upto]


def _aggregates(stream: str, events: list[Recorded]) -> Sequence[object]:
    def evolved(state: Aggregate | None, recorded: Recorded) -> Aggregate:
        return fold(state or empty(stream), recorded.fact)

    return [state for _, state in transitions(events, evolved)]


async def position_meant(archive: Archive, as_of: str | None) -> int:
    """Return the position that an instant or a position means; the head without one.

    Errors: InvalidError for what is neither, or beyond the head.
    """
    head = await archive.log.head()
    if as_of is None:
        return head
    if as_of.isascii() and as_of.isdecimal():
        if int(as_of) > head:
            message = f"The log ends at position {head}."
            raise InvalidError(message)
        return int(as_of)
    try:
        instant = datetime.fromisoformat(as_of)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        message = "WHEN is a position, or an instant with its zone such as 2026-11-03T14:03:00Z."
        raise InvalidError(message)
    return await archive.log.as_of(instant)
