"""The writer: the one thread with the one connection that changes `ledger.db`.

What has gathered in its queue is committed together; each caller is answered for itself, after
the commit is durable. A caller that is cancelled does not cancel what it has queued.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from ....domain.append import Appended
from ....domain.errors import OutcomeUnknownError
from ..batch import Batch, Start
from ..errors import ClosedLedgerError, ReadOnlyLedgerError, WritingFailedError
from ..head import Head
from ..rows import Prepared
from .batch import facts_for, write
from .settled import Settlements

GROUP = 256
"""How many waiting callers one transaction takes at most."""

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Result]

# After these SQLite has rolled back and goes on; after any other, nothing may be assumed.
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM}
_PRIMARY_CODE = 0xFF


class Changes(Protocol):
    """Takes changes of the tables beside the log."""

    async def change(self, change: Change[Result], *, empties_log: bool = False) -> Result:
        """Change tables durably, in a savepoint of its own.

        `empties_log`: then empty the write-ahead log, as far as readers allow, so that nothing
        deleted is left in it. Errors: the change's own, OutcomeUnknownError, BrokenError.
        """
        ...

    def change_later(self, change: Change[object]) -> None:
        """Change tables without waiting, and without hearing of a failure."""
        ...


class NoWriter:
    """Implements `Changes` where a ledger is only read: refuses."""

    async def change(self, change: Change[Result], *, empties_log: bool = False) -> Result:
        """Refuse."""
        del change, empties_log
        self._refuse()

    def change_later(self, change: Change[object]) -> None:
        """Refuse."""
        del change
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyLedgerError


class _Task:
    """What somebody wants written, and who waits for it."""

    __slots__ = ("empties_log", "error", "future", "result", "work")

    def __init__(self, work: Prepared | Change[Any], future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.future = future
        self.empties_log = False
        self.result: Any = None
        self.error: Exception | None = None


class Opened(NamedTuple):
    """What is known of a ledger once it is open for writing."""

    connection: sqlite3.Connection
    settlements: Settlements
    head: Head


class Writer:
    """Queues what is to be written and commits it in groups; implements `Changes`."""

    def __init__(self, opened: Opened, now: Callable[[], datetime]) -> None:
        self.broken: WritingFailedError | None = None
        """Why nothing more can be written, once that is so."""
        self._connection = opened.connection
        self._settlements = opened.settlements
        self._head = opened.head
        self._now = now
        self._gathering: list[_Task] = []
        self._queue: SimpleQueue[list[_Task] | None] = SimpleQueue()
        self._backlog: list[_Task] = []
        self._submitted = self._answered = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many callers wait for what they have queued."""
        return self._submitted - self._answered

    def append(self, prepared: Prepared) -> Awaitable[Appended]:
        """Append durably. Errors: those of `Log.append`; WritingFailedError once that is so."""
        return self._submit(prepared)

    async def change(self, change: Change[Result], *, empties_log: bool = False) -> Result:
        """Implement `Changes.change`."""
        result: Result = await self._submit(change, empties_log=empties_log)
        return result

    def change_later(self, change: Change[object]) -> None:
        """Implement `Changes.change_later`."""
        if self._is_closed:
            raise ClosedLedgerError
        self._queue.put([_Task(change, None)])

    def close(self) -> None:
        """Write what is queued, then end the thread and close the connection."""
        self._is_closed = True
        self._hand_over()
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _submit(
        self, work: Prepared | Change[Any], *, empties_log: bool = False
    ) -> asyncio.Future[Any]:
        if self._is_closed:
            raise ClosedLedgerError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        task = _Task(work, future)
        task.empties_log = empties_log
        # Who resumes in the same turn of the loop goes along: one hand-over, and the writer's
        # thread does not wake to fight for the interpreter while they are still at it.
        if not self._gathering:
            loop.call_soon(self._hand_over)
        self._gathering.append(task)
        self._submitted += 1
        return future

    def _hand_over(self) -> None:
        gathered, self._gathering = self._gathering, []
        self._queue.put(gathered)

    def _run(self) -> None:
        while group := self._gather():
            if self.broken is None:
                self._commit(group)
            else:
                for task in group:
                    task.error = WritingFailedError(detail=self.broken.context["detail"])
            self._answered += sum(task.future is not None for task in group)
            _answer(group)

    def _gather(self) -> list[_Task]:
        """Wait for tasks, and take those that have queued behind them; none at the end."""
        with suppress(Empty):
            while len(self._backlog) < GROUP:
                handed = self._queue.get(block=not self._backlog)
                if handed is None:
                    self._queue.put(None)
                    break
                self._backlog += handed
        group, self._backlog = self._backlog[:GROUP], self._backlog[GROUP:]
        return group

    def _commit(self, group: list[_Task]) -> None:
        try:
            at = max(self._now(), self._head.recorded_at)
            self._connection.execute("BEGIN IMMEDIATE")
            batch = self._perform(group, Start(self._head.position, at))
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was, callers wait for an answer
            self._give_up(group, error)
            return
        self._settlements.keep(batch.settled)
        if batch.head > self._head.position:
            self._head.publish(batch.head, at)
        if any(task.empties_log for task in group):
            self._empty_log([task for task in group if task.empties_log])

    def _empty_log(self, group: Iterable[_Task]) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            self._give_up(group, error)

    def _perform(self, group: list[_Task], start: Start) -> Batch:
        appends = [(task, task.work) for task in group if isinstance(task.work, Prepared)]
        wanted = [work.append for _, work in appends]
        batch = Batch(facts_for(self._connection, wanted, self._settlements, start))
        for task, work in appends:
            try:
                task.result = batch.add(work)
            except Exception as error:  # noqa: BLE001 - it is this caller's, and goes to it
                task.error = error
        write(self._connection, batch, self._settlements)
        for task in group:
            if not isinstance(task.work, Prepared):
                self._perform_change(task, task.work)
        return batch

    def _perform_change(self, task: _Task, change: Change[Any]) -> None:
        self._connection.execute("SAVEPOINT change")
        try:
            task.result = change(self._connection)
        except Exception as error:
            if _concerns_all(error):
                raise
            task.error = error
            self._connection.execute("ROLLBACK TO change")
        self._connection.execute("RELEASE change")

    def _give_up(self, group: Iterable[_Task], error: Exception) -> None:
        passes = not isinstance(error, sqlite3.Error) or _code(error) in _PASSING
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            passes = False
        if not passes:
            self.broken = WritingFailedError(detail=str(error))
        for task in group:
            if task.error is None:
                task.error = OutcomeUnknownError()
                task.error.__cause__ = error


def _concerns_all(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE


def _answer(group: Iterable[_Task]) -> None:
    for loop in {task.future.get_loop() for task in group if task.future is not None}:
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer_on, loop, group)


def _answer_on(loop: asyncio.AbstractEventLoop, group: Iterable[_Task]) -> None:
    for task in group:
        future = task.future
        if future is None or future.done() or future.get_loop() is not loop:
            continue
        if task.error is not None:
            future.set_exception(task.error)
        else:
            future.set_result(task.result)
