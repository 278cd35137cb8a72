"""Batch: appends that share one transaction; each is decided for itself, all are stored at once.

The decisions rest on facts that were read once for the whole batch, and then on what the batch
itself changes, so a refused append leaves no trace. Nothing here knows which database it is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from ...domain.append import Append, Appended, Lease, header_of
from ...domain.errors import ConflictError, FenceLostError, IdempotencyMismatchError
from ...domain.event import Recorded
from .errors import CommandSettledError
from .rows import Prepared, Settled, row_of


class Start(NamedTuple):
    """Where a batch begins: the newest position, and the writer's present."""

    head: int
    at: datetime


class Facts(NamedTuple):
    """What a batch is decided on, of everything that its appends name."""

    start: Start
    versions: Mapping[str, int]
    """The newest version of each stream, 0 for none."""
    known: Mapping[str, Settled]
    """The commands that are settled already."""
    owners: Mapping[str, tuple[str, int]]
    """Owner and token of each stream that is on lease."""


class Batch:
    """Adds appends one after the other; what it took is then to be written."""

    def __init__(self, facts: Facts) -> None:
        self.head = facts.start.head
        self.rows: list[tuple[int, str, int, str, bytes]] = []
        """What is to be inserted, in the columns of `Row`."""
        self.settled: dict[str, Settled] = {}
        self.due: dict[str, datetime] = {}
        self.forgotten: set[str] = set()
        """Streams whose work is over; to be taken away before `due` is written."""
        self._start = facts.start
        self._known = facts.known
        self.versions = dict(facts.versions)
        """The newest version of each stream with what the batch took."""
        self._owners = dict(facts.owners)

    def add(self, prepared: Prepared) -> Appended:
        """Take an append, or answer it as known.

        Errors: IdempotencyMismatchError, ConflictError, FenceLostError, EventTooLargeError.
        """
        append = prepared.append
        if known := self._answer(append):
            return known
        self._check_owner(append.lease)
        versions = self._checked_versions(append)
        events = self._recorded(prepared)
        rows = list(map(row_of, events))
        # Nothing is refused from here on.
        self.versions.update(versions)
        self.rows += rows
        return self._take(append, events)

    def _answer(self, append: Append) -> Appended | None:
        for n, command in enumerate(append.commands):
            settled = self.settled.get(command.id) or self._known.get(command.id)
            if settled is None:
                continue
            if n:
                raise CommandSettledError(command=command.id)
            if settled.sha256 != command.sha256:
                raise IdempotencyMismatchError
            return Appended(settled.first, settled.last, known=True)
        return None

    def _check_owner(self, lease: Lease | None) -> None:
        if lease is None:
            return
        if self._owners.get(lease.stream) != (lease.owner, lease.token):
            raise FenceLostError(stream=lease.stream, token=lease.token)

    def _checked_versions(self, append: Append) -> Mapping[str, int]:
        for stream, version in append.expects.items():
            if self.versions[stream] != version:
                raise ConflictError(stream=stream)
        written: dict[str, int] = {}
        for draft in append.drafts:
            stream = draft.stream
            if draft.version != written.get(stream, self.versions[stream]) + 1:
                raise ConflictError(stream=stream)
            written[stream] = draft.version
        return written

    def _recorded(self, prepared: Prepared) -> tuple[Recorded, ...]:
        position, at = self.head, self._start.at
        events: list[Recorded] = []
        for draft, payload in zip(prepared.append.drafts, prepared.payloads, strict=True):
            position += 1
            events.append(Recorded(position, header_of(draft, payload, at), payload))
        return tuple(events)

    def _take(self, append: Append, events: tuple[Recorded, ...]) -> Appended:
        first, self.head = self.head + 1, self.head + len(events)
        for command in append.commands:
            self.settled[command.id] = Settled(command.sha256, first, self.head)
        for due in append.due:
            self._look_again(due.stream, due.at)
        return Appended(first, self.head, events)

    def _look_again(self, stream: str, at: datetime | None) -> None:
        if at is None:
            self.due.pop(stream, None)
            self._owners.pop(stream, None)
            self.forgotten.add(stream)
        else:
            self.due[stream] = min(at, self.due.get(stream, at))


def streams_of(append: Append) -> Iterator[str]:
    """Yield the streams that an append reads or writes, some of them twice."""
    yield from append.expects
    for draft in append.drafts:
        yield draft.stream
