"""FakeServer: the tables of a store in memory, which outlive the processes that share them.

Appends are committed in groups, become durable with a later flush, and are answered after it.
What decides about an append is the real `Batch`. `Weather` decides how long everything takes and
what fails, an `Observer` sees all of it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, MutableMapping, Sequence
from contextvars import Context
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from shipslog.adapters.store.batch import Batch, Facts, Start, streams_of
from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.rows import Prepared, Settled
from shipslog.domain.append import Append, Appended, Lease
from shipslog.domain.errors import ConflictError, FenceLostError, OutcomeUnknownError
from shipslog.domain.event import Recorded

if TYPE_CHECKING:
    from .store import FakeStore

TARGETS = "target:"
"""How the streams begin that are held and never claimed."""

Undo = list[tuple[MutableMapping[str, Any], str, Any]]
_MISSING: Any = object()


class Weather:
    """How long things take and what goes wrong; here nothing does."""

    def delay(self, what: str) -> float:
        """Return the seconds that a step takes: `commit flush answer read hint`…"""
        del what
        return 0.0

    def strike(self, what: str) -> str | None:
        """Return what goes wrong with this step, None for nothing."""
        del what
        return None


class Observer:
    """Is told what happens in the store, as it happens."""

    def committed(self, append: Append, events: Sequence[Recorded]) -> None:
        """Learn what was stored; it is not durable yet."""

    def fenced(self, append: Append) -> None:
        """Learn that an append was refused because its lease was lost."""

    def crashed(self, gone: int) -> None:
        """Learn that so many events were lost, which were not durable."""

    def settled(self) -> None:
        """Learn that a group is stored, with all that belongs to it."""

    def claimed(self, lease: Lease, before: str | None) -> None:
        """Learn who owns a stream now, and who did until then, if that one's time was up."""


@dataclass
class Row:
    """What the store knows of the work on a stream."""

    due_at: datetime | None = None
    owner: str | None = None
    token: int = 0
    expires: float = inf


class Task(NamedTuple):
    """An append and who waits for it."""

    prepared: Prepared
    future: asyncio.Future[Appended]

    def answer(self, result: Appended | Exception) -> None:
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


@dataclass
class FakeServer:
    """What outlives the processes: the tables, and how far they are durable."""

    lease_seconds: float | None = None
    """None: leases last until the next opening."""
    weather: Weather = field(default_factory=Weather)
    observer: Observer = field(default_factory=Observer)
    context: Context | None = None
    """In which the store itself runs: no process takes it along."""
    when_late: Callable[[], None] = lambda: None
    """Called by who sends an append that will come late: it dies of it."""
    durable: int = 0
    epoch: int = 0
    tokens: int = 0
    rows: list[Recorded] = field(default_factory=list[Recorded])
    streams: defaultdict[str, list[Recorded]] = field(
        default_factory=lambda: defaultdict[str, list[Recorded]](list)
    )
    settled: dict[str, Settled] = field(default_factory=dict[str, Settled])
    work: dict[str, Row] = field(default_factory=dict[str, Row])
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    stores: list[FakeStore] = field(default_factory=list["FakeStore"])
    _undo: list[tuple[int, Undo]] = field(default_factory=list[tuple[int, Undo]])
    _under_way: list[Sequence[Task]] = field(default_factory=list[Sequence[Task]])

    def later(
        self, what: str, act: Callable[..., object], *args: object, late: float = 0.0
    ) -> None:
        """Do something in the store's own time."""
        loop = asyncio.get_running_loop()
        if seconds := self.weather.delay(what) + late:
            loop.call_later(seconds, act, *args, context=self.context)
        else:
            loop.call_soon(act, *args, context=self.context)

    def commit(self, group: Sequence[Task], store: FakeStore) -> None:
        """Decide about a group and store what is left of it; then flush, then answer."""
        if store.is_gone and self.lease_seconds is None:
            return None  # the writer is part of the process
        trouble = self.weather.strike("commit")
        if trouble == "unreachable":
            return self._refuse(group, StoreUnreachableError(detail="no route"))
        if trouble == "conflict":
            return self._refuse(group, ConflictError(stream="somebody's"))
        if trouble == "lost":
            return self._refuse(group, OutcomeUnknownError())
        answers = self._store(group, store.now)
        if trouble == "stored":
            answers = [OutcomeUnknownError() for _ in group]
        self._under_way.append(group)
        if trouble == "crash" and self.lease_seconds is not None:
            return self.crash()
        self.later("flush", self._flush, len(self.rows), group, answers)
        return None

    def adopt(self, other: FakeServer) -> None:
        """Begin with what another one has stored."""
        self.durable, self.epoch, self.tokens = other.durable, other.epoch, other.tokens
        self.rows, self.settled = list(other.rows), dict(other.settled)
        for stream, events in other.streams.items():
            self.streams[stream] = list(events)
        self.work = {stream: copy(row) for stream, row in other.work.items()}
        self.blobs = dict(other.blobs)

    def crash(self) -> None:
        """Lose what is not durable, and every answer."""
        gone = len(self.rows) - self.durable
        while self._undo and self._undo[-1][0] > self.durable:
            for table, key, value in reversed(self._undo.pop()[1]):
                if value is _MISSING:
                    table.pop(key, None)
                else:
                    table[key] = value
        for recorded in self.rows[self.durable :]:
            self.streams[recorded.header.stream].pop()
        del self.rows[self.durable :]
        for group in self._under_way:
            self._refuse(group, OutcomeUnknownError())
        self._under_way.clear()
        self.observer.crashed(gone)

    def void_leases(self) -> None:
        """Let every lease be over."""
        for row in self.work.values():
            row.expires = -inf

    def flush(self) -> None:
        """Make everything durable that is committed."""
        if self.durable < len(self.rows):
            self.durable = len(self.rows)
            self._undo.clear()
            for store in self.stores:
                store.tell(self.durable)

    def free(self, now: datetime) -> list[str]:
        """Return the streams that may be claimed, the oldest first."""
        time = asyncio.get_running_loop().time()
        due = [
            (row.due_at, stream)
            for stream, row in self.work.items()
            if row.owner is None and row.due_at is not None and row.due_at <= now
            if not stream.startswith(TARGETS)
        ]
        lost = [
            stream
            for stream, row in self.work.items()
            if row.owner is not None and row.expires <= time and not stream.startswith(TARGETS)
        ]
        return [*lost, *(stream for _, stream in sorted(due))]

    def take(self, stream: str, owner: str) -> Lease:
        """Give a stream to an owner, under a token higher than all before."""
        row = self.work[stream]
        before = row.owner
        if self.lease_seconds is None:
            row.token = self.epoch
        else:
            self.tokens += 1
            row.token = self.tokens
            row.expires = asyncio.get_running_loop().time() + self.lease_seconds
        row.owner, row.due_at = owner, None
        lease = Lease(stream, row.token, owner)
        self.observer.claimed(lease, before)
        return lease

    def held(self, lease: Lease) -> Row | None:
        """Return the row of a lease that still holds."""
        row = self.work.get(lease.stream)
        is_held = row is not None and (row.owner, row.token) == (lease.owner, lease.token)
        is_live = row is not None and row.expires > asyncio.get_running_loop().time()
        return row if is_held and is_live else None

    def _store(
        self, group: Sequence[Task], now: Callable[[], datetime]
    ) -> list[Appended | Exception]:
        undo: Undo = []
        batch = Batch(self._facts(group, now))
        answers: list[Appended | Exception] = []
        for task in group:
            try:
                appended = batch.add(task.prepared)
            except Exception as error:  # noqa: BLE001 - it is this caller's, and goes to it
                answers.append(error)
                if isinstance(error, FenceLostError):
                    self.observer.fenced(task.prepared.append)
                continue
            answers.append(appended)
            if not appended.known:
                self._keep(appended.events)
                self.observer.committed(task.prepared.append, appended.events)
        for command, settled in batch.settled.items():
            self._put(undo, self.settled, command, settled)
        for stream in batch.forgotten:
            self._put(undo, self.work, stream, _MISSING)
        for stream, at in batch.due.items():
            old = self.work.get(stream) or Row()
            first = at if old.due_at is None else min(at, old.due_at)
            self._put(undo, self.work, stream, Row(first, old.owner, old.token, old.expires))
        if undo:
            self._undo.append((len(self.rows), undo))
        self.observer.settled()
        return answers

    def _facts(self, group: Sequence[Task], now: Callable[[], datetime]) -> Facts:
        appends = [task.prepared.append for task in group]
        at = max(now(), self.rows[-1].header.recorded_at) if self.rows else now()
        time = asyncio.get_running_loop().time()
        versions = {s: len(self.streams[s]) for append in appends for s in streams_of(append)}
        owners = {
            stream: (row.owner, row.token)
            for stream, row in self.work.items()
            if row.owner is not None and row.expires > time
        }
        return Facts(Start(len(self.rows), at), versions, self.settled, owners)

    def _keep(self, events: Sequence[Recorded]) -> None:
        for recorded in events:
            self.rows.append(recorded)
            self.streams[recorded.header.stream].append(recorded)

    @staticmethod
    def _put(undo: Undo, table: MutableMapping[str, Any], key: str, value: object) -> None:
        undo.append((table, key, table.get(key, _MISSING)))
        if value is _MISSING:
            table.pop(key, None)
        else:
            table[key] = value

    def _flush(
        self, upto: int, group: Sequence[Task], answers: Sequence[Appended | Exception]
    ) -> None:
        if not any(one is group for one in self._under_way):
            return  # lost in a crash, and answered so
        if self.durable < upto:
            self.flush()
        self._under_way = [one for one in self._under_way if one is not group]
        self.later("answer", _answer, group, answers)

    def _refuse(self, group: Sequence[Task], error: Exception) -> None:
        self.later("answer", _answer, group, [error] * len(group))


def _answer(group: Sequence[Task], answers: Sequence[Appended | Exception]) -> None:
    for task, answer in zip(group, answers, strict=True):
        task.answer(answer)
