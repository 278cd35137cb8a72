"""One call of `append_events`: what a group of appends assumes, what is sent, what comes back.

A writer cannot read before it has the order lock, and must not think while it has it. So it
decides its group on what the appends themselves claim; the database compares that with what is
so, and where they differ it stores nothing and answers with what is so, to be decided on again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from ....domain.append import Append, Appended
from ....domain.event import Recorded
from ..batch import Batch, Facts, Start
from ..rows import Prepared, Settled
from .channel import Values
from .wire import (
    bytes_array,
    hex_array,
    int4,
    int8,
    int_array,
    read_int,
    read_timestamp,
    text_array,
    timestamp,
    timestamp_array,
)

KNOWN_STREAMS = 8192
"""So many versions are kept; then it begins anew."""

_LARGEST = 2**63 - 2

_NOBODY = ("", 0)
"""Whoever owns work has a token above 0."""
_NO_WORK = (None,) * 7
_NOTHING: tuple[tuple[Any, ...], ...] = ((), (), (), (), ())

unhex = bytes.fromhex
_encode = msgspec.json.Encoder().encode


class _Found(msgspec.Struct):
    """What is so, of everything that a group named."""

    versions: dict[str, int] | None
    known: dict[str, tuple[str, int, int]] | None
    owners: dict[str, tuple[str, int]]


_decode_found = msgspec.json.Decoder(_Found).decode


class Answer(NamedTuple):
    """What `append_events` returns; `head` is None where nothing was stored."""

    head: int | None
    recorded_at: datetime
    facts: bytes

    @classmethod
    def read(cls, row: Sequence[bytes | None], start: Start) -> Self:
        """Read a row as it came; where nothing is said of the instant, it is the writer's."""
        head, recorded_at, facts = row
        return cls(
            None if head is None else read_int(head),
            start.at if recorded_at is None else read_timestamp(recorded_at),
            facts or b"",
        )

    def placed(self, appended: Appended, start: Start) -> Appended:
        """Return where an append stands, which was decided for another place or instant."""
        moved, at = (self.head or 0) - start.head, self.recorded_at
        if not moved and at == start.at:
            return appended
        events = tuple(
            Recorded(event.position + moved, replace(event.header, recorded_at=at), event.payload)
            for event in appended.events
        )
        return Appended(appended.first + moved, appended.last + moved, events)


class Group:
    """What appends that are sent together name."""

    def __init__(self, appends: Sequence[Append]) -> None:
        self.versions: dict[str, int] = {}
        """Streams that are read or written, and the version that the first append claims."""
        self.owners: dict[str, tuple[str, int]] = {}
        self.commands = [command.id for append in appends for command in append.commands]
        self.touched: set[str] = set()
        """Streams whose work is leased or changed."""
        for append in appends:
            self._note(append)

    def _note(self, append: Append) -> None:
        versions = self.versions
        for stream, version in append.expects.items():
            versions.setdefault(stream, _possible(version))
        for draft in append.drafts:
            if draft.stream not in versions:
                versions[draft.stream] = _possible(draft.version - 1)
        for due in append.due:
            self.touched.add(due.stream)
        lease = append.lease
        if lease is not None:
            self.touched.add(lease.stream)
            self.owners.setdefault(lease.stream, (lease.owner, lease.token))


class Task:
    """An append and who waits for it."""

    __slots__ = ("error", "future", "prepared", "result")

    def __init__(self, prepared: Prepared, future: asyncio.Future[Appended]) -> None:
        self.prepared = prepared
        self.future = future
        self.result: Appended | None = None
        self.error: Exception | None = None

    def answer(self) -> None:
        """Tell who waits what became of it."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        elif self.result is not None:
            self.future.set_result(self.result)


class Sending:
    """A group on its way: who waits for it, what it names, and what it was decided on."""

    __slots__ = (
        "attempt",
        "batch",
        "events",
        "facts",
        "group",
        "is_stored",
        "outputs",
        "tasks",
        "yields",
    )

    def __init__(self, tasks: Sequence[Task], facts: Facts, group: Group) -> None:
        self.tasks = tasks
        self.facts = facts
        self.group = group
        self.attempt = 0
        self.yields = 0
        """How often the database has taken it back so far."""
        self.batch = Batch(facts)
        self.outputs: Mapping[str, bytes] = {}
        """Blobs that it takes along."""
        self.events: list[Recorded] = []
        """What it has stored, until it is published."""
        self.is_stored = False
        """Whether the database has said so; its callers may still wait for a flush."""

    def decide(self, facts: Facts) -> Batch:
        """Decide anew, each task for itself."""
        self.facts, self.batch = facts, Batch(facts)
        for task in self.tasks:
            task.result = task.error = None
            try:
                task.result = self.batch.add(task.prepared)
            except Exception as error:  # noqa: BLE001 - it is this caller's, and goes to it
                task.error = error
        return self.batch

    def fail(self, error: Exception) -> None:
        """Answer everybody with a failure."""
        for task in self.tasks:
            task.error = error
            task.answer()


def assumed(group: Group, head: int, at: datetime) -> Facts:
    """Return the facts as the appends claim them."""
    return Facts(Start(head, at), group.versions, {}, group.owners)


def corrected(facts: Facts, answer: Answer) -> Facts:
    """Return the facts as the database has answered them."""
    found = _decode_found(answer.facts)
    known = {command: Settled(*settled) for command, settled in (found.known or {}).items()}
    return Facts(facts.start, found.versions or {}, {**facts.known, **known}, found.owners)


class Claims(NamedTuple):
    """What an append takes for granted, in the order in which it is sent."""

    head: int | None
    """Where the log must end for all but the unknown; None where everything is looked at."""
    unknown: int
    """How many of the first streams are looked at in any case."""
    versions: Mapping[str, int]


class Known:
    """What a writer knows of the log because it wrote it, as long as nobody else writes.

    The database says whether that is so: the session remembers where its own last append ended.
    Where the log still ends there, the versions known for that place need no look. Whatever is
    sent while one exchange is under way builds on that one alone, so that its failure is seen.
    """

    def __init__(self) -> None:
        self.head: int | None = None
        """Where the log ends once everything sent is stored."""
        self._versions: dict[str, int] = {}

    def claims(self, versions: Mapping[str, int]) -> Claims:
        """Say what of these versions has to be looked at."""
        if self.head is None:
            return Claims(None, len(versions), versions)
        known = self._versions
        unknown = {stream: n for stream, n in versions.items() if known.get(stream) != n}
        if not unknown:
            return Claims(self.head, 0, versions)
        return Claims(self.head, len(unknown), unknown | dict(versions))

    def learn(self, head: int, versions: Mapping[str, int]) -> None:
        """Note where the log ends with what is sent, and the versions of its streams there."""
        if self.head is None or len(self._versions) > KNOWN_STREAMS:
            self._versions = {}
        self.head = head
        self._versions.update(versions)

    def forget(self) -> None:
        """Know nothing: somebody else has written, or an append was not stored as it was sent."""
        self.head = None
        self._versions = {}


class Manner(NamedTuple):
    """How a group is sent."""

    tells: bool
    is_careful: bool
    """Whether every command is looked up, in place of having a constraint refuse the group."""
    outputs: Mapping[str, bytes]
    """Blobs that are stored along with it."""


def values(group: Group, facts: Facts, batch: Batch, claims: Claims, manner: Manner) -> Values:
    """Return what a decided group sends, in the order of `append_events`, after `is_early`."""
    settled, head = batch.settled, facts.start.head
    _, streams, versions, topics, states = zip(*batch.rows, strict=True) if batch.rows else _NOTHING
    outcomes = settled.values()
    if manner.is_careful:
        asked = [i for i in group.commands if i not in facts.known]
    else:
        asked = [i for i in group.commands if i not in settled and i not in facts.known]
    return (
        timestamp(facts.start.at),
        _encode(facts.start.at)[1:-1],
        b"\1" if manner.tells else b"\0",
        None if claims.head is None else int8(claims.head),
        int4(claims.unknown),
        text_array(streams),
        int_array(versions),
        text_array(topics),
        bytes_array(states),
        text_array(claims.versions),
        int_array(claims.versions.values()),
        hex_array(settled),
        hex_array([one.sha256 for one in outcomes]),
        int_array([one.first - head for one in outcomes]),
        int_array([one.last - head for one in outcomes]),
        hex_array(asked),
        *_work(group, facts, batch),
        *_blobs(manner.outputs),
    )


def require_storable(append: Append) -> None:
    """Pass an append whose texts PostgreSQL can hold.

    Errors: ValueError for a NUL, for a lone surrogate, and for a command that is not in hex.
    """
    for command in append.commands:
        both = command.id + command.sha256
        if len(command.id) % 2 or len(both) % 2 or unhex(both).hex() != both:
            message = "a command and its body are named in lower case"
            raise ValueError(message)
    text = "".join([draft.stream for draft in append.drafts])
    if append.expects or append.due:
        text = "".join([text, *append.expects, *[due.stream for due in append.due]])
    if append.lease is not None:
        text += append.lease.stream + append.lease.owner
    if "\0" in text:
        message = "a name holds a NUL"
        raise ValueError(message)
    text.encode()


def _work(group: Group, facts: Facts, batch: Batch) -> Values:
    if not group.touched:
        return _NO_WORK
    touched = sorted(group.touched)
    claimed = {stream: facts.owners[stream] for stream in group.owners if stream in facts.owners}
    holders = [claimed.get(stream, _NOBODY) for stream in touched]
    due = batch.due
    return (
        int4(len(claimed)),
        text_array(touched),
        text_array(owner for owner, _ in holders),
        int_array([token for _, token in holders]),
        text_array(due) if due else None,
        timestamp_array(due.values()) if due else None,
        text_array(batch.forgotten) if batch.forgotten else None,
    )


def _blobs(outputs: Mapping[str, bytes]) -> Values:
    if not outputs:
        return None, None
    digests = sorted(outputs)
    return text_array(digests), bytes_array([outputs[digest] for digest in digests])


def _possible(version: int) -> int:
    # What no stream can have is decided, and refused, on the version 0.
    return version if 0 <= version <= _LARGEST else 0
