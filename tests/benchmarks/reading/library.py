"""The peer: the events of our log as the eventsourcing library keeps them, and how it reads them.

Every event has the payload of ours as its fields. Of our header it has what the library writes
itself, the stream, the version and an instant: no actor, no command, no cause and no hash.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from ..generated_log import Row

PAGE = 2000
EVENTS_OF_A_SAVE = 1000


class Stream(Aggregate):
    """One of our streams."""

    class Told(Aggregate.Event):
        """An event of ours."""

        topic: str
        fields: dict[str, Any]

        def apply(self, aggregate: Aggregate) -> None:
            """Change nothing."""


def write(application: Application[UUID], events: Iterable[Row]) -> None:
    """Tell the library our events, in their order but for the beginnings of its streams."""
    streams: dict[str, Stream] = {}
    coming = iter(events)
    while some := list(islice(coming, EVENTS_OF_A_SAVE)):
        for _, name, _, topic, state in some:
            fields = msgspec.json.decode(state.partition(b"\n")[2])
            if name not in streams:
                streams[name] = Stream()
            streams[name].trigger_event(Stream.Told, topic=topic, fields=fields)
        application.save(*[streams[name] for name in {row[1] for row in some}])


def through(application: Application[UUID]) -> Iterator[object]:
    """Yield the library's domain events, in pages of the same size as ours."""
    position = 0
    while page := application.recorder.select_notifications(position + 1, PAGE):
        yield from map(application.mapper.to_domain_event, page)
        position = page[-1].id


def bytes_an_event(application: Application[UUID]) -> float:
    """Return how long the states of the first events are."""
    page = application.recorder.select_notifications(1, PAGE)
    return sum(len(one.state) for one in page) / len(page)
