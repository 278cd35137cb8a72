"""readers: the real follower and read models beside the engine, with events that are poison."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Collection, Iterator, Sequence
from functools import cache

from sqlalchemy import Connection, Table

from shipslog.domain.errors import RetryableError
from shipslog.domain.event import Recorded
from shipslog.domain.ports import Log
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, ReadModel, SqliteViews

AGAIN_SECONDS = 1.0

Poison = Collection[tuple[int, int]]
"""Read model, counted round, and the position of the event that it cannot fold."""


class PoisonError(Exception):
    """This read model cannot fold this event."""


class Readers:
    """Rows that outlive the processes which fold them; they begin as `before` is folded."""

    def __init__(self, poison: Poison, before: Sequence[Recorded]) -> None:
        self._poison = {(READ_MODELS[n % len(READ_MODELS)].name, at) for n, at in poison}
        self._models = tuple(_poisoned(model, self._poison) for model in READ_MODELS)
        self._before = tuple(before)
        self._views = self._begun("live")

    async def follow(self, log: Log) -> None:
        """Follow a log until cancelled or killed."""
        follower = Follower(log, self._views)
        while True:
            try:
                await follower.open()
            except RetryableError:
                await asyncio.sleep(AGAIN_SECONDS)  # it would be started again
            else:
                return await follower.run()

    def is_at(self, position: int) -> bool:
        """Say whether everything up to a position is folded."""
        return self._views.standing().position == position

    @property
    def has_stopped(self) -> bool:
        """Whether a stream stands still because of poison."""
        return bool(self._views.parked())

    def violations(self, log: Sequence[Recorded]) -> Iterator[str]:
        """Yield where the rows are not the fold of the log, or poison was passed over."""
        yield from self._passed_over(log)
        at_once = self._begun("at once")
        at_once.apply(log[len(self._before) :])
        with at_once.writing() as expected, self._views.writing() as found:
            for model in self._models:
                if any(_rows(expected, one) != _rows(found, one) for one in model.tables):
                    yield f"I34: the rows of {model.name} are not the fold of the log"

    def _passed_over(self, log: Sequence[Recorded]) -> Iterator[str]:
        parked = {(one.model, one.stream) for one in self._views.parked()}
        met = {
            (model.name, log[at - 1].header.stream)
            for name, at in self._poison
            for model in self._models
            if model.name == name and at <= len(log)
            if log[at - 1].header.stream.startswith(model.streams)
        }
        for one in met - parked:
            yield f"I36: poison was passed over: {one}"
        for one in parked - met:
            yield f"I36: {one} stands still and has no poison"

    def _begun(self, purpose: str) -> SqliteViews:
        # To make tables costs more than a schedule: they are made once and filled by copy.
        views = _opened(purpose)
        views.become(_folded(self._before))
        views.models = self._models
        return views


@cache
def _opened(purpose: str) -> SqliteViews:
    del purpose
    views = SqliteViews(None, READ_MODELS, is_lasting=False)
    views.open()
    return views


@cache
def _folded(events: tuple[Recorded, ...]) -> SqliteViews:
    views = SqliteViews(None, READ_MODELS, is_lasting=False)
    views.open()
    if events:
        views.apply(events)
    return views


def _rows(db: Connection, table: Table) -> list[str]:
    return sorted(map(repr, db.exec_driver_sql(f"SELECT * FROM {table.name}").fetchall()))  # noqa: S608


def _poisoned(model: ReadModel, poison: Collection[tuple[str, int]]) -> ReadModel:
    mine = {at for name, at in poison if name == model.name}
    if not mine:
        return model
    poisoned = copy.copy(model)

    def apply(db: Connection, events: Sequence[Recorded]) -> None:
        for recorded in events:
            if recorded.position in mine:
                raise PoisonError(recorded.reference)
        model.apply(db, events)

    poisoned.apply = apply  # type: ignore[method-assign]
    return poisoned
