"""The writer: the one thread with the one connection that changes `ledger.db`.

What has gathered in its queue is committed together; each caller is answered for itself, after
the commit is durable. A caller that is cancelled does not cancel what it has queued.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
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

    def answer(self) -> None:
        """Tell who waits; runs on their event loop."""
        if self.future is None or self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Opened(NamedTuple):
    """What is known of a ledger once it is open for writing."""

    connection: sqlite3.Connection
    settlements: Settlements
    head: Head
    epoch: int


class Writer:
    """Queues what is to be written and commits it in groups; implements `Changes`."""

    def __init__(self, opened: Opened, now: Callable[[], datetime]) -> None:
        self.broken: WritingFailedError | None = None
        """Why nothing more can be written, once that is so."""
        self._connection = opened.connection
        self._settlements = opened.settlements
        self._head = opened.head
        self._epoch = opened.epoch
        self._now = now
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def append(self, prepared: Prepared) -> Appended:
        """Append durably. Errors: those of `Log.append`; BrokenError once that is so."""
        appended: Appended = await self._submit(prepared)
        return appended

    async def change(self, change: Change[Result], *, empties_log: bool = False) -> Result:
        """Implement `Changes.change`."""
        result: Result = await self._submit(change, empties_log=empties_log)
        return result

    def change_later(self, change: Change[object]) -> None:
        """Implement `Changes.change_later`."""
        self._put(_Task(change, None))

    def close(self) -> None:
        """Write what is queued, then end the thread and close the connection."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _submit(
        self, work: Prepared | Change[Any], *, empties_log: bool = False
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = _Task(work, future)
        task.empties_log = empties_log
        self._put(task)
        return future

    def _put(self, task: _Task) -> None:
        if self._is_closed:
            raise ClosedLedgerError
        self._queue.put(task)

    def _run(self) -> None:
        while group := self._gather():
            if self.broken is None:
                self._commit(group)
            else:
                for task in group:
                    task.error = WritingFailedError(detail=self.broken.context["detail"])
            _answer(group)

    def _gather(self) -> list[_Task]:
        """Wait for a task, and take those that have queued behind it; none at the end."""
        group: list[_Task] = []
        with suppress(Empty):
            while len(group) < GROUP:
                task = self._queue.get(block=not group)
                if task is None:
                    if group:
                        self._queue.put(None)
                    break
                group.append(task)
        return group

    def _commit(self, group: list[_Task]) -> None:
        at = max(self._now(), self._head.recorded_at)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            batch = self._perform(group, Start(self._head.position, at, self._epoch))
            self._connection.execute("COMMIT")
            if any(task.empties_log for task in group):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except Exception as error:  # noqa: BLE001 - whatever it was, callers wait for an answer
            self._give_up(group, error)
        else:
            self._settlements.keep(batch.settled)
            if batch.head > self._head.position:
                self._head.publish(batch.head, at)

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
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[_Task]] = defaultdict(list)
    for task in group:
        if task.future is not None:
            by_loop[task.future.get_loop()].append(task)
    for loop, tasks in by_loop.items():
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer_all, tasks)


def _answer_all(tasks: Iterable[_Task]) -> None:
    for task in tasks:
        task.answer()
