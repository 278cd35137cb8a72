"""Replaying one stream without a server: every event, and the state after it as it was served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
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
from .here import head_of

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

    def transitions(self, stream: str) -> Iterator[Transition]:
        """Yield every event of a stream with the state after it; NotFoundError if it has none."""
        events = self._events(stream)
        if not events:
            raise NotFoundError(kind=stream.partition(":")[0])
        is_deployment = stream.startswith("deployment:")
        states = self._statuses(events) if is_deployment else self._aggregates(stream, events)
        causes = self._causes(events)
        for recorded, state in states:
            (event,) = self._shown.events([recorded], causes)
            yield Transition(event, state)

    def _statuses(self, events: list[Recorded]) -> Iterator[tuple[Recorded, object]]:
        header = events[0].header
        there = iter(self._events(target_stream(f"{header.environment}/{header.service}")))
        standing, coming = None, next(there, None)
        for recorded, document in transitions(events, deployments.apply):
            while coming is not None and coming.position <= recorded.position:
                standing, coming = targets.apply(standing, coming), next(there, None)
            yield recorded, self._shown.status(document, standing.place if standing else None)

    @staticmethod
    def _aggregates(stream: str, events: list[Recorded]) -> Iterator[tuple[Recorded, object]]:
        def evolved(state: Aggregate | None, recorded: Recorded) -> Aggregate:
            return fold(state or empty(stream), recorded.fact)

        yield from transitions(events, evolved)

    def _events(self, stream: str) -> list[Recorded]:
        events = asyncio.run(self._read(stream))
        return [event for event in events if event.position <= self._upto]

    async def _read(self, stream: str) -> list[Recorded]:
        return list(await self._archive.log.stream(stream))

    def _causes(self, events: list[Recorded]) -> dict[str, int]:
        named = {event.header.causation for event in events if event.header.causation}
        found = {name: self._position(name) for name in named}
        return {name: position for name, position in found.items() if position is not None}

    def _position(self, reference: str) -> int | None:
        stream, _, version = reference.rpartition("@")
        return self._archive.log.position_of(stream, int(version))


def position_meant(archive: Archive, as_of: str | None) -> int:
    """Return the position that an instant or a position means; the head without one.

    Errors: InvalidError for what is neither, or beyond the head.
    """
    head = head_of(archive)
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
    return archive.log.as_of(instant)
