"""replay: the log folded once more, by whoever wants to see it for themselves.

`transitions` shows one stream step by step, `replay_all` folds every aggregate there is, `check`
compares every row of the views with a fold of the log. Nothing here writes anything that lasts.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DatabaseError

from ..domain.deployment import ENDINGS, Deployment
from ..domain.errors import BrokenError
from ..domain.event import Recorded
from ..domain.transaction import Aggregate, empty, fold
from .follower import ReadModel, SqliteViews, Views, parked, rows_differ, standing

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


def replay_all(events: Iterable[Recorded]) -> Replayed:
    """Fold every aggregate of a whole log, in order from its first event."""
    began = time.perf_counter()
    with _without_collector():
        topics, states, finals = _folded(events)
    statuses = Counter(finals.values())
    statuses.update(s.status.value for s in states.values() if isinstance(s, Deployment))
    kinds = Counter(stream.partition(":")[0] for stream in (*states, *finals))
    return Replayed(
        position=topics.total(),
        topics=dict(topics),
        streams=dict(kinds),
        statuses=dict(statuses),
        seconds=time.perf_counter() - began,
    )


def _folded(
    events: Iterable[Recorded],
) -> tuple[Counter[str], dict[str, Aggregate], dict[str, str]]:
    topics: Counter[str] = Counter()
    states: dict[str, Aggregate] = {}
    finals: dict[str, str] = {}
    for recorded in events:
        stream, topic = recorded.header.stream, recorded.header.topic
        topics[topic] += 1
        if stream in finals:
            continue
        state = fold(states.get(stream) or empty(stream), recorded.fact)
        states[stream] = state
        if topic in _ENDINGS and isinstance(state, Deployment):
            # Nothing but annotations follows, and a plan takes room.
            finals[stream] = state.status.value
            del states[stream]
    return topics, states, finals


_ENDINGS = {ending.TOPIC for ending in ENDINGS.values()}


@contextmanager
def _without_collector() -> Generator[None]:
    # Events and states make no cycles; looking for some costs a fifth of the time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def check(events: Iterable[Recorded], views: Views) -> Iterator[Difference]:
    """Return every row of the views that is not the fold of the log up to the views' position.

    A stream that is parked in a read model is a difference of the table `parked`.
    Errors: BrokenError for views that are missing, damaged or of another shape.
    """
    try:
        with tempfile.TemporaryDirectory() as folder, views.reading() as stored:
            if not views.fits(stored):
                message = "The views have another shape than this build; rebuild them."
                raise BrokenError(message)
            fresh = SqliteViews(Path(folder) / "views.db", views.models, is_lasting=False)
            try:
                yield from _differences(stored, _refolded(fresh, events, stored))
            finally:
                fresh.close()
    except DatabaseError as error:
        message = f"The views cannot be read; rebuild them: {error.orig}."
        raise BrokenError(message) from error


def _refolded(fresh: Views, events: Iterable[Recorded], stored: Connection) -> Views:
    fresh.open()
    reached = standing(stored).position
    upto = takewhile(lambda recorded: recorded.position <= reached, events)
    while batch := list(islice(upto, BATCH)):
        fresh.apply(batch)
    return fresh


def _differences(stored: Connection, fresh: Views) -> Iterator[Difference]:
    for one in parked(stored):
        row = msgspec.structs.astuple(one)
        yield Difference(one.model, "parked", row[:2], row, None)
    with fresh.writing() as folded:
        for model in fresh.models:
            for table in model.tables:
                for key, mine, theirs in rows_differ(stored, folded, table):
                    yield _difference(model, table, key, mine, theirs)


def _difference(
    model: ReadModel,
    table: Table,
    key: tuple[Any, ...],
    stored: Sequence[Any] | None,
    folded: Sequence[Any] | None,
) -> Difference:
    columns: tuple[str, ...] = ()
    if stored and folded:
        names = table.columns.keys()
        pairs = zip(names, stored, folded, strict=True)
        columns = tuple(name for name, mine, theirs in pairs if mine != theirs)
    return Difference(
        model=model.name,
        table=table.name,
        key=key,
        stored=tuple(stored) if stored else None,
        folded=tuple(folded) if folded else None,
        columns=columns,
    )
