"""Folding a batch into every read model, and containing the events that cannot be folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection, select

from ...domain.event import Recorded
from .limits import Limited
from .read_model import PARKED, ReadModel
from .rows import put

_MAX_ERROR = 500

IsPoison = Callable[[Exception], bool]
Models = Sequence[ReadModel]


class Parked(msgspec.Struct, frozen=True):
    """A stream that a read model cannot fold on: its rows stand still since this position."""

    model: str
    stream: str
    position: int
    error: str


def parked(db: Connection) -> list[Parked]:
    """Return every stream that a read model cannot fold on."""
    return [Parked(**row) for row in db.execute(_PARKED).mappings()]


_PARKED = select(PARKED).order_by(PARKED.c.model, PARKED.c.stream)


class Folding:
    """Folds batches into read models; what is under way may be called off from another thread."""

    def __init__(self, is_poison: IsPoison) -> None:
        self._is_poison = is_poison
        self._limited = Limited()

    def look(self) -> None:
        """Call off a fold that has taken more than it may; from any thread, at any time."""
        self._limited.look()

    def all_at_once(
        self, db: Connection, models: Models, events: Sequence[Recorded], old: Sequence[Parked]
    ) -> None:
        """Fold a batch, the streams left out that are parked already."""

        def fold() -> None:
            for model, mine in _shares(models, events, old):
                model.apply(db, mine)

        self._limited.fold(fold)

    def one_by_one(
        self, db: Connection, models: Models, events: Sequence[Recorded], old: Sequence[Parked]
    ) -> tuple[Parked, ...]:
        """Fold a batch event by event, and park each stream whose event cannot be folded."""
        stopped: dict[tuple[str, str], Parked] = {}
        for model, mine in _shares(models, events, old):
            for recorded in mine:
                stream = recorded.header.stream
                if (model.name, stream) in stopped:
                    continue
                try:
                    self._limited.fold(partial(_fold_alone, db, model, recorded))
                except Exception as error:
                    if not self._is_poison(error):
                        raise
                    detail = f"{type(error).__name__}: {error}".replace("\0", "")[:_MAX_ERROR]
                    one = Parked(model.name, stream, recorded.position, detail)
                    stopped[model.name, stream] = one
                    put(db, PARKED, [msgspec.structs.astuple(one)])
        return tuple(stopped.values())


def _shares(
    models: Models, events: Sequence[Recorded], old: Sequence[Parked]
) -> Iterator[tuple[ReadModel, list[Recorded]]]:
    """Return what each read model reads of a batch, parked streams left out."""
    stopped = {(one.model, one.stream) for one in old}
    shares: list[list[Recorded]] = [[] for _ in models]
    readers: dict[str, list[list[Recorded]]] = {}
    for event in events:
        stream = event.header.stream
        if (mine := readers.get(stream)) is None:
            mine = readers[stream] = [
                share
                for model, share in zip(models, shares, strict=True)
                if stream.startswith(model.streams) and (model.name, stream) not in stopped
            ]
        for share in mine:
            share.append(event)
    yield from (pair for pair in zip(models, shares, strict=True) if pair[1])


def _fold_alone(db: Connection, model: ReadModel, recorded: Recorded) -> None:
    with db.begin_nested():
        model.apply(db, [recorded])
