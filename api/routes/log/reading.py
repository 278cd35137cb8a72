"""Reading the log: pages of what is wanted, bounded in bytes, and how events are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from sqlalchemy import Connection

from ....domain.event import Recorded
from ....projections import audit
from ....projections.follower import parked
from ...services import Services
from ...wire.documents import EventDocument
from ...wire.shown import Shown

CHUNK, FIRST_CHUNK = 200, 64
SCANNED = 256
"""So many events are looked through at a time."""
MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page ends early where its payloads are larger than this together."""


@dataclass(frozen=True)
class Wanted:
    """Which events of the log somebody wants."""

    topic: str | None = None
    stream: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no event is left out."""
        return self.topic is None and self.stream is None

    @property
    def filters(self) -> audit.Filters:
        """The same for the read model."""
        return audit.Filters(topic=self.topic, stream=self.stream)

    def includes(self, event: Recorded) -> bool:
        """Say whether an event is wanted."""
        header = event.header
        return self.topic in {None, header.topic} and self.stream in {None, header.stream}


async def page_after(
    services: Services, after: int, limit: int, wanted: Wanted
) -> tuple[list[Recorded], bool]:
    """Return at most `limit` wanted events above a position, and whether there are more."""
    found: list[Recorded] = []
    size = 0
    while len(found) <= limit and size <= MAX_PAGE_BYTES:
        # Nobody knows how large they are before the first have been read.
        count = min(CHUNK if found else FIRST_CHUNK, limit + 1 - len(found))
        more = await _chunk(services, after, count, wanted)
        found += more
        if len(more) < count:
            return found[:limit], len(found) > limit
        after = more[-1].position
        size += sum(len(event.payload) for event in more)
    return found[:limit], True


async def next_after(
    services: Services, after: int, limit: int, wanted: Wanted
) -> tuple[list[Recorded], int]:
    """Return at most `limit` wanted events above a position, and up to where that is all of them.

    What the read models know already is looked up; only what is newer is looked through.
    """
    # Another process may have brought the read models further than this one may read the log.
    known = min(await services.log.head(), services.follower.position)
    if not wanted.is_everything and after < known:
        query = partial(_matching, wanted=wanted, after=after, limit=limit)
        if (positions := await services.follower.views.read(query)) is not None:
            upto = positions[-1] if len(positions) == limit else known
            return await _at(services, [one for one in positions if one <= known]), min(upto, known)
    page = await services.log.page(after=after, limit=limit if wanted.is_everything else SCANNED)
    upto = page[-1].position if page else after
    return [event for event in page if wanted.includes(event)], upto


async def shown_events(services: Services, events: Sequence[Recorded]) -> list[EventDocument]:
    """Return events as they are served, their causes by position."""
    here = {event.reference: event.position for event in events}
    named = {event.header.causation for event in events if event.header.causation}
    elsewhere = await services.log.positions_of(named - here.keys())
    return await Shown(services.directory, services.keyring).events(events, {**here, **elsewhere})


async def _chunk(services: Services, after: int, limit: int, wanted: Wanted) -> Sequence[Recorded]:
    if wanted.is_everything:
        return await services.log.page(after=after, limit=limit)
    query = partial(audit.positions, filters=wanted.filters, after=after, limit=limit)
    return await _at(services, await services.follower.views.read(query))


def _matching(db: Connection, wanted: Wanted, after: int, limit: int) -> list[int] | None:
    """Return the positions of wanted events, or None where the read model does not know all."""
    if any(one.model == audit.Audit.name for one in parked(db)):
        return None
    return audit.positions(db, wanted.filters, after=after, limit=limit)


async def _at(services: Services, positions: Iterable[int]) -> list[Recorded]:
    found: list[Recorded] = []
    for first, count in _runs(positions):
        found += await services.log.page(after=first - 1, limit=count)
    return found


def _runs(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Return positions as (first, count) of those that follow each other.

    >>> _runs([1, 2, 3, 7, 9, 10])
    [(1, 3), (7, 1), (9, 2)]
    """
    grouped = groupby(enumerate(positions), key=lambda one: one[1] - one[0])
    runs = [[position for _, position in run] for _, run in grouped]
    return [(run[0], len(run)) for run in runs]
