"""FakeStore: one process's way to a `FakeServer`; it keeps the contract of the real stores.

With a lease time it is like the distributed store; without, like the embedded one, where every
opening raises the token and voids all leases. What is read is durable.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import Context
from datetime import datetime
from typing import TypeVar

from shipslog.adapters.store.errors import ClosedLedgerError, StoreUnreachableError
from shipslog.adapters.store.rows import STRETCH_BYTES, STRETCH_ROWS, missing, prepare
from shipslog.domain.append import Append, Appended, Due, Lease
from shipslog.domain.event import Recorded, encode_header, sha256_hex
from shipslog.domain.ports import Stretch

from .server import TARGETS, FakeServer, Row, Task

T = TypeVar("T")

GROUP = 64
LATE_SECONDS = 7.5
"""How long an append is on its way whose sender has died."""


class FakeStore:
    """One process's way to the server: implements the ports `Log`, `WorkQueue` and `Blobs`."""

    def __init__(self, server: FakeServer, now: Callable[[], datetime]) -> None:
        self.server = server
        self.now = now
        server.epoch += 1
        if server.lease_seconds is None:
            for stream in [one for one in server.work if one.startswith(TARGETS)]:
                del server.work[stream]
            for row in server.work.values():
                if row.owner is not None:
                    row.owner, row.due_at = None, now()
        self.epoch = server.epoch
        self.log = self.work = self.blobs = self
        self._queue: list[Task] = []
        self._sent: Sequence[Task] = ()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._is_closed = False
        self._is_told = False
        self.is_gone = False
        """Whether its process was killed."""
        self.hints: Context | None = None
        """In which this process learns of news."""
        server.stores.append(self)

    async def append(self, append: Append) -> Appended:
        """Implement `Log.append`."""
        prepared = prepare(append)
        if self._is_closed:
            raise ClosedLedgerError
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(Task(prepared, future))
        if len(self._queue) == 1:
            asyncio.get_running_loop().call_soon(self._go_on)
        appended = await future
        if not appended.known:
            return appended
        events = tuple(self.server.rows[appended.first - 1 : appended.last])
        return Appended(appended.first, appended.last, events, known=True)

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Implement `Log.stream`."""
        await self._reads()
        durable = self.server.durable
        newer = self.server.streams[stream][after:] if stream in self.server.streams else []
        return [recorded for recorded in newer if recorded.position <= durable]

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.page`."""
        await self._reads()
        return self.server.rows[after : min(after + limit, self.server.durable)]

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Implement `Log.newer`."""
        return await self.page(after=after, limit=limit)

    async def head(self) -> int:
        """Implement `Log.head`."""
        await self._reads()
        return self.server.durable

    async def command(self, command_id: str) -> Appended | None:
        """Implement `Log.command`."""
        await self._reads()
        found = self.server.settled.get(command_id)
        if found is None or found.last > self.server.durable:
            return None
        events = tuple(self.server.rows[found.first - 1 : found.last])
        return Appended(found.first, found.last, events)

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Implement `Log.wait_beyond`: a hint may be late or lost, the timeout is the truth."""
        if self.server.durable <= position:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((position, told))
            await asyncio.wait([told], timeout=timeout)
            self._waiting = [one for one in self._waiting if one[1] is not told]
        return self.server.durable

    def scan(self, *, after: int = 0, upto: int | None = None) -> Iterator[Recorded]:
        """Return the log or a part of it."""
        last = self.server.durable if upto is None else min(upto, self.server.durable)
        yield from self.server.rows[after:last]

    def stretches(self, make: Callable[[Stretch], T], *, after: int, upto: int) -> Iterator[T]:
        """Return what is made of the stored bytes, in stretches. Errors: CorruptLogError."""
        while after < upto:
            states: list[bytes] = []
            last = min(upto, self.server.durable, after + STRETCH_ROWS)
            for recorded in self.server.rows[after:last]:
                if sum(map(len, states)) > STRETCH_BYTES:
                    break
                states.append(b"%b\n%b" % (encode_header(recorded.header), recorded.payload))
            if not states:
                raise missing(after + 1)
            yield make(Stretch(after + 1, states))
            after += len(states)

    async def as_of(self, instant: datetime) -> int:
        """Return the largest position recorded at or before an instant."""
        rows = self.server.rows[: self.server.durable]
        return bisect_right(rows, instant, key=lambda recorded: recorded.header.recorded_at)

    def position_of(self, stream: str, version: int) -> int | None:
        """Return the position of one version of a stream, or None."""
        events = self.server.streams[stream][version - 1 : version]
        return events[0].position if events else None

    async def positions_of(self, references: Collection[str]) -> Mapping[str, int]:
        """Return where events named `stream@version` stand."""
        known = {recorded.reference: recorded.position for recorded in self.scan()}
        return {one: known[one] for one in references if one in known}

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        """Implement `WorkQueue.claim`."""
        await self._reads()
        free = self.server.free(self.now())[:limit]
        if not free:
            return ()
        taken = tuple(self.server.take(stream, owner) for stream in free)
        # What was committed before is flushed with it.
        self.server.flush()
        await self._pause("claim")
        return taken

    async def hold(self, owner: str, stream: str) -> Lease | None:
        """Implement `WorkQueue.hold`."""
        await self._reads()
        row = self.server.work.setdefault(stream, Row())
        if row.owner is not None and row.expires > asyncio.get_running_loop().time():
            return None
        lease = self.server.take(stream, owner)
        self.server.flush()
        await self._pause("claim")
        return lease

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Implement `WorkQueue.renew`."""
        await self._reads()
        kept: list[Lease] = []
        for lease in leases:
            if row := self.server.held(lease):
                kept.append(lease)
                if self.server.lease_seconds is not None:
                    time = asyncio.get_running_loop().time()
                    row.expires = time + self.server.lease_seconds
        self.server.flush()
        await self._pause("claim")
        return tuple(kept)

    async def release(self, lease: Lease, due: Due | None) -> None:
        """Implement `WorkQueue.release`."""
        await self._reads()
        row = self.server.work.get(lease.stream)
        if row is None or (row.owner, row.token) != (lease.owner, lease.token):
            return
        if due is not None and due.at is None:
            del self.server.work[lease.stream]
        else:
            at = due.at if due is not None and due.at is not None else self.now()
            if row.due_at is not None:
                at = min(at, row.due_at)
            self.server.work[lease.stream] = Row(at, token=row.token)
        self.server.flush()

    async def put(self, content: bytes) -> str:
        """Implement `Blobs.put`."""
        await self._pause("claim")
        digest = f"sha256:{sha256_hex(content)}"
        self.server.blobs[digest] = content
        return digest

    async def get(self, digest: str) -> bytes | None:
        """Implement `Blobs.get`."""
        return self.server.blobs.get(digest)

    async def close(self) -> None:
        """Write what is queued, then take nothing more."""
        self._is_closed = True
        while self._queue or self._sent:
            futures = [task.future for task in (*self._sent, *self._queue)]
            self._go_on()
            await asyncio.wait(futures)
            await asyncio.sleep(0)
        self.leave()

    def leave(self) -> None:
        """Learn of nothing any more."""
        if self in self.server.stores:
            self.server.stores.remove(self)

    def tell(self, durable: int) -> None:
        """Learn that the log has grown, unless the hint is lost on its way."""
        if self._is_told or not any(position < durable for position, _ in self._waiting):
            return
        if self.server.weather.strike("hint"):
            return
        self._is_told = True
        times = 2 if self.server.weather.strike("echo") else 1
        for _ in range(times):
            seconds = self.server.weather.delay("hint")
            asyncio.get_running_loop().call_later(seconds, self._told, context=self.hints)

    def _told(self) -> None:
        self._is_told = False
        for position, told in self._waiting:
            if position < self.server.durable and not told.done():
                told.set_result(None)

    def _go_on(self) -> None:
        if self._sent or not self._queue:
            return
        self._sent, self._queue = self._queue[:GROUP], self._queue[GROUP:]
        waiting = Counter({"open": len(self._sent)})

        def answered(_: object) -> None:
            waiting["open"] -= 1
            if not waiting["open"]:
                self._sent = ()
                self._go_on()

        for task in self._sent:
            task.future.add_done_callback(answered)
        late = LATE_SECONDS if self.server.weather.strike("append") else 0.0
        self.server.later("commit", self.server.commit, self._sent, self, late=late)
        if late:
            self.server.when_late()

    async def _reads(self) -> None:
        if self.server.weather.strike("read"):
            raise StoreUnreachableError(detail="no route")
        await self._pause("read")

    async def _pause(self, what: str) -> None:
        if seconds := self.server.weather.delay(what):
            await asyncio.sleep(seconds)
