"""Counting: a small read model, which can be told to choke."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sqlalchemy import Column, ColumnElement, Connection, MetaData, Table

from shipslog.domain.event import Header, Recorded
from shipslog.projections.follower import TEXT, WHOLE, ReadModel, Views, put

COUNTS = Table(
    "counts",
    MetaData(),
    Column("stream", TEXT, primary_key=True),
    Column("events", WHOLE, nullable=False),
)


class Counting(ReadModel):
    """Counts the events of each stream; some it cannot bear."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = (COUNTS,)
    streams: ClassVar[tuple[str, ...]] = ("deployment:", "target:")

    def __init__(self, poison: int = 0, fault: type[BaseException] = ValueError) -> None:
        self.poison = poison
        """Position of the event that it cannot bear, 0 for none."""
        self.fault = fault

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        for event in events:
            stream = event.header.stream
            put(db, COUNTS, [(stream, event.header.stream_version)])
            if event.position == self.poison:
                message = f"I cannot bear {event.position}"
                raise self.fault(message)

    def rows_of(self, header: Header) -> Mapping[Table, ColumnElement[bool]]:
        return {COUNTS: COUNTS.c.stream == header.stream}


def fingerprints(views: Views) -> list[str]:
    """Return the digests of all read models."""
    with views.reading() as db:
        return [model.fingerprint(db) for model in views.models]
