"""Selecting: which positions a query means, on the log as it stood at one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ...domain.event import Header, Recorded
from ...projections.exports import (
    Bound,
    Name,
    Period,
    Positions,
    Query,
    Selection,
    Source,
    Stretches,
)
from ..wire.refusals import InvalidParameterError

_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
"""Instants of the log that differ are at least so far apart."""


class Readable(Stretches, Protocol):
    """What an export needs of the log."""

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Return events above a position."""
        ...

    async def as_of(self, instant: datetime) -> int:
        """Return the largest position recorded at or before an instant."""
        ...


class People(Protocol):
    """What an export needs of the directory."""

    async def find(self, kind: str, name: str) -> str | None:
        """Return the subject id of a person, or None."""
        ...


async def subject_of(people: People, actor: str) -> str:
    """Return the subject id of `kind:name`; any other text stands for itself."""
    kind, colon, name = actor.partition(":")
    return (await people.find(kind, name) or actor) if colon else actor


async def select(log: Readable, name: Name, query: Query, head: int) -> Selection:
    """Return what a query means on the log that ends at `head`, for good.

    Errors: InvalidParameterError where the period ends before it begins.
    """
    if _is_turned(query.from_, query.until):
        raise InvalidParameterError("until", "The period ends before it begins.")
    last = min(head, await _last(log, query.until, head))
    first = min(await _first(log, query.from_), last + 1)
    covered = Period(None, None)
    if first <= last:
        begin, end = await _header(log, first), await _header(log, last)
        covered = Period(begin.recorded_at, end.recorded_at)
    newest = (await _header(log, head)).payload_sha256 if head else None
    return Selection(
        format=name,
        query=query,
        positions=Positions(first, last),
        period=covered,
        log=Source(head, newest),
    )


def _is_turned(begin: Bound | None, end: Bound | None) -> bool:
    if isinstance(begin, int) and isinstance(end, int):
        # What goes on behind the last event asked for is no mistake: it is empty.
        return begin > end + 1
    return isinstance(begin, datetime) and isinstance(end, datetime) and begin > end


async def _first(log: Readable, bound: Bound | None) -> int:
    if isinstance(bound, datetime):
        return 1 if bound <= _BEFORE_ALL else await log.as_of(bound - _TICK) + 1
    return max(1, bound or 1)


async def _last(log: Readable, bound: Bound | None, head: int) -> int:
    if isinstance(bound, datetime):
        return 0 if bound < _BEFORE_ALL else await log.as_of(bound)
    return head if bound is None else bound


async def _header(log: Readable, position: int) -> Header:
    (recorded,) = await log.page(after=position - 1, limit=1)
    return recorded.header
