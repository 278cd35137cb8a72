"""The writer: the one task with the one connection by which this process appends.

What has gathered in its queue goes into one transaction; each caller is answered for itself, once
the commit is durable. A caller that is cancelled does not cancel what it has queued. A connection
on which anything failed is closed, and every append that was on it is of unknown outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import partial

from psycopg.errors import DeadlockDetected, ProtocolViolation, UniqueViolation

from ....domain.append import Appended
from ....domain.errors import BusyError, OutcomeUnknownError
from ....domain.event import Recorded
from ..batch import Facts
from ..errors import ClosedLedgerError
from ..rows import Prepared
from .appending import (
    Answer,
    Claims,
    Group,
    Known,
    Manner,
    Sending,
    Task,
    assumed,
    corrected,
    values,
)
from .channel import APPENDING, Channel, Row
from .connections import Connections
from .durable import DurableHead, measured_flush
from .news import News
from .tables.blobs import Outputs

GROUP = 64
"""How many waiting callers one transaction takes at most: while it is stored, others prepare."""
WORTH_A_SECOND = 32
"""With so many waiting, a second group goes out while the first is being stored."""
EARLY_ABOVE_SECONDS = 0.0003
"""From this long a flush on, several writers are faster when they release the order lock early."""
AT_ONCE = 2
CAREFUL = 64
"""For so many groups after one that a constraint refused, commands are looked up before."""
NOTHING_STORED = (UniqueViolation, DeadlockDetected)
"""What was unique is there already; who gave way for a circle of waiting to be broken."""
ATTEMPTS = 4
"""So often a group is decided anew on newer facts; then each append of it for itself."""
YIELDS = 3
"""So often an append that the database took back is sent again, from the second time on alone."""
FIRST_PAUSE_SECONDS = 0.005
"""The longest pause before the first of these; each next one may be twice as long."""


class Release(Enum):
    """When a writer gives up the order lock: the next writer waits for it."""

    AFTER_FLUSH = "after flush"
    """Best for one process, or where a flush takes next to nothing."""
    EARLY = "early"
    """At the commit, before its flush; callers wait for a later flush, which all writers share."""
    MEASURED = "measured"
    """As the flush turns out that is measured when the first connection is made."""


class Writer:
    """Queues appends and commits them in groups."""

    def __init__(
        self,
        connections: Connections,
        head: DurableHead,
        now: Callable[[], datetime],
        release: Release,
        outputs: Outputs,
    ) -> None:
        self._connections = connections
        self._head = head
        self._now = now
        self._release = release
        self._outputs = outputs
        self._queue: list[Task] = []
        self._under_way: list[Sending] = []
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None
        self._sent_to = 0
        self._was_alone = False
        """Whether the last append had no company: then the next one waits for none."""
        self._careful = 0
        self._channel: Channel | None = None
        self._known = Known()
        self._news = News(connections)
        self._recorded_at = datetime.min.replace(tzinfo=UTC)
        self._is_closed = False
        connections.when_left(self._leave_channel)

    @property
    def is_early(self) -> bool:
        """Whether the order lock is released before the flush."""
        return self._release is Release.EARLY

    @property
    def waiting(self) -> int:
        """How many appends are queued."""
        return len(self._queue)

    def connect(self) -> None:
        """Begin to connect, so that the first append need not wait for it."""
        self._usable_channel()

    async def append(self, prepared: Prepared) -> Appended:
        """Append durably.

        Errors: those of `Log.append`; BusyError, StoreUnreachableError where nothing was stored.
        """
        if self._is_closed:
            raise ClosedLedgerError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        self._queue.append(Task(prepared, future))
        if self._was_alone and not self._under_way and len(self._queue) == 1:
            self._go_on()
        elif len(self._queue) in {1, WORTH_A_SECOND}:
            # Whoever else runs in this turn of the loop gets into the same group.
            loop.call_soon(self._go_on)
        return await future

    async def close(self) -> None:
        """Write what is queued, then close the connection."""
        self._is_closed = True
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._go_on()
        if self._queue or self._under_way:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        await self._news.close()
        if self._channel is not None:
            self._abandon(self._channel)
        if self._closing:
            await asyncio.wait(self._closing)

    def _go_on(self) -> None:
        """Send what has gathered, a second group while the first is being stored."""
        while self._queue and len(self._under_way) < self._allowed:
            channel = self._usable_channel()
            if channel is None:
                return
            tasks, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            self._was_alone = len(tasks) == 1
            self._begin(channel, tasks)
        if self._ended is not None and not self._queue and not self._under_way:
            self._ended.set_result(None)
            self._ended = None

    @property
    def _allowed(self) -> int:
        return AT_ONCE if len(self._queue) >= WORTH_A_SECOND else 1

    def _begin(self, channel: Channel, tasks: Sequence[Task], yields: int = 0) -> None:
        group = Group([task.prepared.append for task in tasks])
        head = max(self._head.position, self._sent_to)
        facts = assumed(group, head, max(self._now(), self._recorded_at))
        sending = Sending(tasks, facts, group)
        sending.yields = yields
        self._under_way.append(sending)
        self._send(channel, sending, facts)

    def _send(self, channel: Channel, sending: Sending, facts: Facts) -> None:
        try:
            batch = sending.decide(facts)
            if sending.attempt and not batch.settled:
                # The facts, which are no assumption any more, leave nothing to store.
                self._end(channel, sending)
                return
            claims = self._claims(sending)
            self._careful -= self._careful > 0
            sending.outputs = self._outputs.waiting()
            tells = bool(batch.rows) and self._news.are_due()
            manner = Manner(tells, self._careful > 0, sending.outputs)
            sent = values(sending.group, facts, batch, claims, manner)
            self._sent_to = batch.head
            done = partial(self._take_answer, channel, sending)
            channel.append(sent, done, is_early=self.is_early)
        except Exception as error:  # noqa: BLE001 - whatever it was, callers wait for an answer
            self._give_up(channel, sending, error)

    def _claims(self, sending: Sending) -> Claims:
        batch, versions = sending.batch, sending.facts.versions
        if len(self._under_way) > AT_ONCE or sending.attempt:
            return Claims(None, len(versions), versions)
        claims = self._known.claims(versions)
        if claims.head is not None and batch.rows:
            self._known.learn(claims.head + len(batch.rows), batch.versions)
        return claims

    def _take_answer(
        self, channel: Channel, sending: Sending, rows: list[Row] | None, error: Exception | None
    ) -> None:
        try:
            if isinstance(error, NOTHING_STORED):
                # Some command was settled before, and now is found and answered for itself; or
                # somebody else locks what an append needs, in another order.
                self._known.forget()
                self._careful = CAREFUL
                self._yield(channel, sending)
                return
            if error is not None or not rows:
                raise error or ProtocolViolation  # noqa: TRY301 - one place gives up
            answer = Answer.read(rows[0], sending.facts.start)
            # Also where the events are not: the transaction has ended well.
            self._outputs.stored(sending.outputs)
            if answer.head is None:
                self._known.forget()
                self._try_again(channel, sending, corrected(sending.facts, answer))
                return
            self._place(sending, answer, answer.head)
        except Exception as failure:  # noqa: BLE001 - whatever it was, callers wait for an answer
            self._give_up(channel, sending, failure)
        else:
            self._end(channel, sending)

    def _try_again(self, channel: Channel, sending: Sending, facts: Facts) -> None:
        sending.attempt += 1
        if sending.attempt <= ATTEMPTS or len(sending.tasks) == 1:
            self._send(channel, sending, facts)
        else:
            self._divide(channel, sending)

    def _divide(self, channel: Channel, sending: Sending) -> None:
        self._under_way.remove(sending)
        for task in sending.tasks:
            self._begin(channel, [task], yields=sending.yields)

    def _yield(self, channel: Channel, sending: Sending) -> None:
        """Send what was taken back once more after a while, but not for ever."""
        sending.yields += 1
        if sending.yields > YIELDS:
            sending.fail(BusyError())
            self._leave(sending)
            return
        again = partial(self._try_again, channel, sending, sending.facts)
        if sending.yields > 1 and len(sending.tasks) > 1:
            again = partial(self._divide, channel, sending)
        # Those who meet again must not do so at the same moment.
        pause = random.uniform(0, FIRST_PAUSE_SECONDS * 2 ** (sending.yields - 1))  # noqa: S311
        asyncio.get_running_loop().call_later(pause, again)

    def _place(self, sending: Sending, answer: Answer, head: int) -> None:
        start, events = sending.facts.start, list[Recorded]()
        for task in sending.tasks:
            if task.result is not None and not task.result.known:
                task.result = answer.placed(task.result, start)
                events += task.result.events
        sending.is_stored = True
        self._recorded_at = max(self._recorded_at, answer.recorded_at)
        if not events:
            return
        sending.events = events
        if head != start.head:
            self._known.forget()
        if self._known.head is not None:
            return
        end = head
        for one in (sending, *(later for later in self._under_way if not later.is_stored)):
            if one.batch.rows:
                end += len(one.batch.rows)
                self._known.learn(end, one.batch.versions)

    def _end(self, channel: Channel, sending: Sending) -> None:
        """Answer everybody; what another process has stored is made durable before."""
        if not self.is_early and any(task.result and task.result.known for task in sending.tasks):
            self._publish(sending)
            channel.barrier(partial(self._answer, channel, sending))
        else:
            self._answer(channel, sending, None, None)

    def _answer(
        self, channel: Channel, sending: Sending, _: list[Row] | None, error: Exception | None
    ) -> None:
        if error is not None:
            self._give_up(channel, sending, error)
            return
        # Whoever has appended goes on first: what a follower then tells him he knows already.
        for task in sending.tasks:
            task.answer()
        self._publish(sending)
        self._leave(sending)

    def _publish(self, sending: Sending) -> None:
        events, sending.events = sending.events, []
        if events:
            self._head.wrote(events)

    def _give_up(self, channel: Channel, sending: Sending, cause: Exception) -> None:
        self._abandon(channel)
        error = OutcomeUnknownError()
        error.__cause__ = cause
        sending.fail(error)
        self._leave(sending)

    def _leave(self, sending: Sending) -> None:
        if sending in self._under_way:
            self._under_way.remove(sending)
        if self._under_way or self._ended:
            self._go_on()
            return
        self._sent_to = 0
        if self._queue:
            # Whoever was just answered, and goes on at once, gets into the same group.
            asyncio.get_running_loop().call_soon(self._go_on)

    def _usable_channel(self) -> Channel | None:
        """Return the channel, or None and have one opened, which then goes on."""
        channel = self._channel
        if channel is not None and not channel.is_broken:
            return channel
        if channel is not None:
            self._abandon(channel)
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        return None

    async def _open(self) -> None:
        try:
            async with self._connections.handing_over() as connection:
                if self._release is Release.MEASURED:
                    is_slow = await measured_flush(connection) >= EARLY_ABOVE_SECONDS
                    self._release = Release.EARLY if is_slow else Release.AFTER_FLUSH
                era = self._connections.era
                self._channel = await Channel.open(connection, APPENDING)
                self._head.writes_by = connection.info.backend_pid
                if era != self._connections.era:
                    self._leave_channel()
        except Exception as error:  # noqa: BLE001 - callers wait for an answer
            waiting, self._queue = self._queue, []
            for task in waiting:
                task.error = error
                task.answer()
        self._opening = None
        self._go_on()

    def _leave_channel(self) -> None:
        if self._channel is not None:
            self._abandon(self._channel)

    def _abandon(self, channel: Channel) -> None:
        if self._channel is channel:
            self._channel = None
            self._known.forget()
            closing = asyncio.create_task(channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
