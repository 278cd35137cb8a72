"""The writer: the one task with the one connection by which this process appends.

What has gathered in its queue goes into one transaction; each caller is answered for itself, once
the commit is durable. A caller that is cancelled does not cancel what it has queued. A connection
on which anything failed is closed, and every append that was on it is of unknown outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import count

from ....domain.append import Appended
from ....domain.errors import OutcomeUnknownError
from ..batch import Batch, Facts
from ..errors import ClosedLedgerError
from ..rows import Prepared
from .appending import Answer, Group, Manner, assumed, corrected, values
from .channel import Channel
from .connections import Connections
from .durable import DurableHead, measured_flush
from .news import News

GROUP = 64
"""How many waiting callers one transaction takes at most: while it is stored, others prepare."""
WORTH_A_SECOND = 32
"""With so many waiting, a second group goes out while the first is being stored."""
EARLY_ABOVE_SECONDS = 0.0003
"""From this long a flush on, several writers are faster when they release the order lock early."""
ATTEMPTS = 4
"""So often a group is decided anew on newer facts; then each append of it for itself."""


class Release(Enum):
    """When a writer gives up the order lock: the next writer waits for it."""

    AFTER_FLUSH = "after flush"
    """Best for one process, or where a flush takes next to nothing."""
    EARLY = "early"
    """At the commit, before its flush; callers wait for a later flush, which all writers share."""
    MEASURED = "measured"
    """As the flush turns out that is measured when the first connection is made."""


class _Task:
    """An append and who waits for it."""

    __slots__ = ("error", "future", "prepared", "result")

    def __init__(self, prepared: Prepared, future: asyncio.Future[Appended]) -> None:
        self.prepared = prepared
        self.future = future
        self.result: Appended | None = None
        self.error: Exception | None = None

    def answer(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        elif self.result is not None:
            self.future.set_result(self.result)


class Writer:
    """Queues appends and commits them in groups."""

    def __init__(
        self,
        connections: Connections,
        head: DurableHead,
        now: Callable[[], datetime],
        release: Release,
    ) -> None:
        self._connections = connections
        self._head = head
        self._now = now
        self._release = release
        self._queue: list[_Task] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._sent_to = 0
        self._channel: Channel | None = None
        self._news = News(connections)
        self._recorded_at = datetime.min.replace(tzinfo=UTC)
        self._is_closed = False

    @property
    def is_early(self) -> bool:
        """Whether the order lock is released before the flush."""
        return self._release is Release.EARLY

    @property
    def waiting(self) -> int:
        """How many appends are queued."""
        return len(self._queue)

    async def append(self, prepared: Prepared) -> Appended:
        """Append durably.

        Errors: those of `Log.append`; StoreUnreachableError where nothing was sent.
        """
        if self._is_closed:
            raise ClosedLedgerError
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(_Task(prepared, future))
        if len(self._queue) == 1:
            # Whoever else runs in this turn of the loop gets into the same group.
            asyncio.get_running_loop().call_soon(self._go_on)
        return await future

    async def close(self) -> None:
        """Write what is queued, then close the connection."""
        self._is_closed = True
        while self._queue or self._under_way:
            self._go_on()
            await asyncio.wait(self._under_way)
        await self._news.close()
        if self._channel is not None:
            await self._abandon(self._channel)

    def _go_on(self) -> None:
        """Send what has gathered, a second group while the first is being stored."""
        while self._queue and len(self._under_way) < self._allowed:
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            task = asyncio.create_task(self._perform(group))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    @property
    def _allowed(self) -> int:
        return 2 if len(self._queue) >= WORTH_A_SECOND else 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._go_on()

    async def _perform(self, tasks: Sequence[_Task]) -> None:
        try:
            async with self._opening:
                channel = await self._open()
        except Exception as error:  # noqa: BLE001 - callers wait for an answer
            for task in tasks:
                task.error = error
        else:
            await self._store_on(channel, tasks)
        for task in tasks:
            task.answer()

    async def _store_on(self, channel: Channel, tasks: Sequence[_Task]) -> None:
        try:
            await self._store(channel, tasks)
        except Exception as error:  # noqa: BLE001 - whatever it was, callers wait for an answer
            await self._abandon(channel)
            for task in tasks:
                task.error = OutcomeUnknownError()
                task.error.__cause__ = error

    async def _store(self, channel: Channel, tasks: Sequence[_Task]) -> None:
        group = Group([task.prepared.append for task in tasks])
        head = max(self._head.position, self._sent_to)
        facts = assumed(group, head, max(self._now(), self._recorded_at))
        for attempt in count():
            batch = _decide(tasks, facts)
            if attempt and not batch.settled:
                break  # the facts, which are no assumption any more, leave nothing to store
            manner = Manner(self.is_early, bool(batch.rows) and self._news.are_due())
            sent = values(group, facts, batch, manner)
            self._sent_to = batch.head
            row = await channel.append(sent, has_barrier=self.is_early)
            answer = Answer.read(row, facts.start)
            if answer.head is not None:
                self._place(tasks, answer, facts, len(batch.rows))
                break
            if attempt >= ATTEMPTS and len(tasks) > 1:
                for task in tasks:
                    await self._store(channel, [task])
                return
            facts = corrected(facts, answer)
        if not self.is_early and any(task.result and task.result.known for task in tasks):
            # Another process may have stored it, and released the lock early.
            await channel.barrier()

    def _place(self, tasks: Sequence[_Task], answer: Answer, facts: Facts, rows: int) -> None:
        for task in tasks:
            if task.result is not None and not task.result.known:
                task.result = answer.placed(task.result, facts.start)
        self._recorded_at = max(self._recorded_at, answer.recorded_at)
        if rows:
            self._head.publish((answer.head or 0) + rows)
        if len(self._under_way) == 1:
            self._sent_to = 0

    async def _open(self) -> Channel:
        if self._channel is not None and not self._channel.is_broken:
            return self._channel
        if self._channel is not None:
            await self._abandon(self._channel)
        async with self._connections.handing_over() as connection:
            if self._release is Release.MEASURED:
                is_slow = await measured_flush(connection) >= EARLY_ABOVE_SECONDS
                self._release = Release.EARLY if is_slow else Release.AFTER_FLUSH
            self._channel = await Channel.open(connection)
        return self._channel

    async def _abandon(self, channel: Channel) -> None:
        if self._channel is channel:
            self._channel = None
        await channel.close()


def _decide(tasks: Sequence[_Task], facts: Facts) -> Batch:
    batch = Batch(facts)
    for task in tasks:
        task.result = task.error = None
        try:
            task.result = batch.add(task.prepared)
        except Exception as error:  # noqa: BLE001 - it is this caller's, and goes to it
            task.error = error
    return batch
