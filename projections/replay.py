"""replay: the log folded once more, by whoever wants to see it for themselves.

`transitions` shows one stream step by step, `replay_all` folds every aggregate there is, `check`
compares every row of the views with a fold of the log. Nothing here writes anything that lasts.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from ..domain.deployment import Deployment
from ..domain.errors import InvalidError
from ..domain.event import Recorded
from ..domain.ports import Log
from ..domain.transaction import Aggregate, empty, fold
from .follower import Views, parked, rows_differ, standing

BATCH = 2000

State = TypeVar("State")


class Replayed(msgspec.Struct, frozen=True):
    """What the whole log comes to."""

    position: int
    topics: dict[str, int]
    """How many events of each topic."""
    streams: dict[str, int]
    """How many streams of each kind."""
    statuses: dict[str, int]
    """How many deployments stand so at the end."""
    seconds: float

    @property
    def events_per_second(self) -> float:
        """How fast it was folded."""
        return self.position / self.seconds if self.seconds else 0.0


class Difference(msgspec.Struct, frozen=True):
    """A row of the views that is not what the log says."""

    model: str
    table: str
    key: tuple[Any, ...]
    stored: tuple[Any, ...] | None
    """None: the row is missing."""
    folded: tuple[Any, ...] | None
    """None: there should be no such row."""
    columns: tuple[str, ...] = ()
    """Which columns differ, where both rows are there."""


def transitions(
    events: Iterable[Recorded], apply: Callable[[State | None, Recorded], State]
) -> Iterator[tuple[Recorded, State]]:
    """Return every event of one stream with the state after it."""
    state: State | None = None
    for recorded in events:
        state = apply(state, recorded)
        yield recorded, state


async def position_at(log: Log, instant: datetime) -> int:
    """Return the position that is meant by *as of* an instant: of the last event recorded by then.

    `recorded_at` never falls from one position to the next, so it is found by halving.
    """
    least, most = 0, await log.head()
    while least < most:
        middle = (least + most + 1) // 2
        (recorded,) = await log.page(after=middle - 1, limit=1)
        if recorded.header.recorded_at <= instant:
            least = middle
        else:
            most = middle - 1
    return least


async def position_of(log: Log, as_of: int | datetime) -> int:
    """Return the position that an instant or a position means; InvalidError beyond the head."""
    if isinstance(as_of, datetime):
        return await position_at(log, as_of)
    if as_of > (head := await log.head()):
        message = f"The log ends at position {head}."
        raise InvalidError(message, pointer="/as_of", head=head)
    return as_of


async def causes(log: Log, events: Sequence[Recorded]) -> Mapping[str, int]:
    """Return the positions of what caused these events, by `stream@version`."""
    known = {recorded.reference: recorded.position for recorded in events}
    missing: dict[str, list[int]] = {}
    for reference in {e.header.causation for e in events if e.header.causation}:
        if reference not in known:
            stream, _, version = reference.rpartition("@")
            missing.setdefault(stream, []).append(int(version))
    for stream, versions in missing.items():
        found = await log.stream(stream, after=min(versions) - 1)
        known.update({recorded.reference: recorded.position for recorded in found})
    return known


def replay_all(events: Iterable[Recorded]) -> Replayed:
    """Fold every aggregate of a whole log, in order from its first event."""
    began = time.perf_counter()
    topics: Counter[str] = Counter()
    states: dict[str, Aggregate] = {}
    finals: dict[str, str] = {}
    position = 0
    for recorded in events:
        header = recorded.header
        topics[header.topic] += 1
        stream, position = header.stream, recorded.position
        if stream in finals:
            continue
        state = fold(states.get(stream) or empty(stream), recorded.fact)
        states[stream] = state
        if isinstance(state, Deployment) and state.is_final:
            # Nothing but annotations follows, and a plan takes room.
            finals[stream] = state.status.value
            del states[stream]
    statuses = Counter(finals.values())
    statuses.update(s.status.value for s in states.values() if isinstance(s, Deployment))
    kinds = Counter(stream.partition(":")[0] for stream in (*states, *finals))
    return Replayed(
        position, dict(topics), dict(kinds), dict(statuses), time.perf_counter() - began
    )


def check(events: Iterable[Recorded], views: Views) -> Iterator[Difference]:
    """Return every row of the views that is not the fold of the log up to the views' position.

    A stream that is parked in a read model is a difference of the table `parked`.
    """
    with tempfile.TemporaryDirectory() as folder, views.reading() as stored:
        fresh = Views(Path(folder) / "views.db", views.models, is_lasting=False)
        reached = standing(stored).position
        try:
            fresh.open()
            upto = takewhile(lambda recorded: recorded.position <= reached, events)
            while batch := list(islice(upto, BATCH)):
                fresh.apply(batch)
            with fresh.writing() as folded:
                yield from _differences(views, stored, folded)
        finally:
            fresh.close()


def _differences(views: Views, stored: Connection, folded: Connection) -> Iterator[Difference]:
    for one in parked(stored):
        row = msgspec.structs.astuple(one)
        yield Difference(one.model, "parked", row[:2], row, None)
    for model in views.models:
        for table in model.tables:
            names = [column.name for column in table.columns]
            for key, mine, theirs in rows_differ(stored, folded, table):
                yield Difference(
                    model.name,
                    table.name,
                    key,
                    tuple(mine) if mine else None,
                    tuple(theirs) if theirs else None,
                    tuple(n for n, a, b in zip(names, mine, theirs, strict=True) if a != b)
                    if mine and theirs
                    else (),
                )
