"""Ledger: the same door in memory, over the eventsourcing library's own application.

For tests and for readers: what stands here is the whole rule of who may write what, without a
database. It keeps the promises of a log (gapless positions, all or nothing, versions, known
commands, leases) and none of its durability.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec
from eventsourcing.application import Application
from eventsourcing.persistence import StoredEvent

from .append import Append, Appended, Draft, Due, Lease, header_of
from .errors import ConflictError, FenceLostError, IdempotencyMismatchError
from .event import (
    CommandRef,
    Recorded,
    Sealed,
    decode,
    encode_header,
    encode_payload,
)
from .ledger import Door
from .ports import Clock

HELD = "target:"
"""Streams that are held and never claimed."""


class Ledger(Application[str]):
    """A log, its work queue and its door, all in memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.token = 1
        self.due: dict[str, datetime] = {}
        self.owners: dict[str, Lease] = {}
        self.door = Door(self, clock, self)
        self._events: list[Recorded] = []
        self._commands: dict[str, tuple[CommandRef, Appended]] = {}
        self._moved = asyncio.Condition()

    async def append(self, append: Append) -> Appended:
        """Implement `Log.append`."""
        known = await self._known(append.commands[0])
        if known is not None:
            return known
        self._check(append)
        appended = self._store(append.drafts)
        for command in append.commands:
            self._commands[command.id] = (command, appended)
        for due in append.due:
            self._look_again(due)
        async with self._moved:
            self._moved.notify_all()
        return appended

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Implement `Log.stream` on the library's recorder."""
        stored = self.recorder.select_events(stream, gt=after)
        mine = [r for r in self._events if r.header.stream == stream]
        return mine[after : after + len(stored)]

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.page`."""
        return self._events[after : after + limit]

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.newer`."""
        return await self.page(after=after, limit=limit)

    async def head(self) -> int:
        """Implement `Log.head`."""
        return len(self._events)

    async def command(self, command_id: str) -> Appended | None:
        """Implement `Log.command`."""
        known = self._commands.get(command_id)
        return known[1] if known else None

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Implement `Log.wait_beyond`."""
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(lambda: len(self._events) > position)
        except TimeoutError:
            pass
        return len(self._events)

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        """Implement `WorkQueue.claim`."""
        now = self.clock.now()
        due = (s for s, at in self.due.items() if at <= now and not s.startswith(HELD))
        free = [stream for stream in due if stream not in self.owners][:limit]
        self.owners.update({stream: Lease(stream, self.token, owner) for stream in free})
        return [self.owners[stream] for stream in free]

    async def hold(self, owner: str, stream: str) -> Lease | None:
        """Implement `WorkQueue.hold`."""
        if stream in self.owners:
            return None
        self.owners[stream] = Lease(stream, self.token, owner)
        return self.owners[stream]

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Implement `WorkQueue.renew`: in memory a lease lasts until it is given back."""
        return [lease for lease in leases if self.owners.get(lease.stream) == lease]

    async def release(self, lease: Lease, due: Due | None) -> None:
        """Implement `WorkQueue.release`."""
        self.owners.pop(lease.stream, None)
        self._look_again(due or Due(lease.stream, self.clock.now()))

    async def seal(self, subject: str, text: str) -> Sealed:
        """Hide nothing: in memory there is nothing to erase."""
        return Sealed(key=subject, nonce="", ciphertext=text)

    async def _known(self, command: CommandRef) -> Appended | None:
        known = self._commands.get(command.id)
        if known is None:
            return None
        if known[0].sha256 != command.sha256:
            raise IdempotencyMismatchError
        return msgspec.structs.replace(known[1], known=True)

    def _check(self, append: Append) -> None:
        if append.lease is not None and append.lease.token != self.token:
            raise FenceLostError(stream=append.lease.stream, token=append.lease.token)
        for stream, version in append.expects.items():
            if version != len(self.recorder.select_events(stream)):
                raise ConflictError(stream=stream)
        versions: dict[str, int] = {}
        for draft in append.drafts:
            stored = len(self.recorder.select_events(draft.stream))
            if draft.version != versions.get(draft.stream, stored) + 1:
                raise ConflictError(stream=draft.stream)
            versions[draft.stream] = draft.version

    def _store(self, drafts: Sequence[Draft]) -> Appended:
        first = len(self._events) + 1
        stored = [_stored(draft, self.clock.now()) for draft in drafts]
        self.recorder.insert_events(stored)
        events = tuple(decode(first + n, event.state) for n, event in enumerate(stored))
        self._events.extend(events)
        return Appended(first=first, last=len(self._events), events=events)

    def _look_again(self, due: Due) -> None:
        if due.at is None:
            self.due.pop(due.stream, None)
            self.owners.pop(due.stream, None)
        else:
            self.due[due.stream] = due.at


def _stored(draft: Draft, now: datetime) -> StoredEvent:
    payload = encode_payload(draft.event)
    state = encode_header(header_of(draft, payload, now)) + b"\n" + payload
    return StoredEvent(draft.stream, draft.version, draft.event.TOPIC, state)
