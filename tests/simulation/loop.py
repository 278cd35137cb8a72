"""The event loop of a simulation: virtual time, several processes, a seeded choice of who goes on.

Every callback belongs to a process, known by its context. Within one process callbacks run in the
order in which asyncio promises to run them; among processes the seed decides, one callback at a
time. A process can be paused, as SIGSTOP does, or killed: then nothing of it runs any more, no
`finally` either.
"""

from __future__ import annotations

import asyncio
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar, cast

MOST_STEPS = 400_000
"""After so many callbacks a run that still goes on goes round in circles."""
MOST_UNWINDING = 50

Result = TypeVar("Result")
Callback = Callable[..., object]


class CircleError(Exception):
    """It goes on for ever without time going by, or has nothing left to wait for."""


class Process:
    """What lives and dies together, with a wall clock of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[Turn] = deque()
        self.is_dead = False
        self.is_paused = False
        self.was_paused_at = 0.0
        self.skew = 0.0
        """Seconds that its wall clock is ahead."""

    def __repr__(self) -> str:
        return self.name


NOBODY = Process("nobody")
NOBODY.is_dead = True
PROCESS: ContextVar[Process] = ContextVar("process")


class Turn(asyncio.TimerHandle):
    """A callback and whose it is."""

    __slots__ = ("process",)

    def __init__(self, callback: Callback, args: tuple[Any, ...], context: Context) -> None:
        # The base's own is twice as slow, and asks the loop for its debug mode.
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self.process: Process = context.get(PROCESS, NOBODY)

    def __repr__(self) -> str:
        return f"<Turn of {self.process}>"

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def run(self) -> None:
        self._context.run(self._callback, *self._args)


class Job(asyncio.Task[Any]):
    """A task whose place in a set is the same in each run: the product keeps tasks in sets."""

    def __init__(
        self, number: int, coro: object, loop: SimulatedLoop, context: Context | None
    ) -> None:
        self._number = number
        super().__init__(cast("Any", coro), loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs turns; when none is left, time jumps to the next timer."""

    def __init__(self, choice: Random, began: float = 0.0) -> None:
        self.steps = 0
        self.complaints: list[str] = []
        """Exceptions that nobody has taken."""
        self._random = choice.random
        self._now = began
        self._timers: list[tuple[float, int, Turn]] = []
        self._timed = 0
        self._ready: list[Process] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_closed = False

    def time(self) -> float:
        """Return the seconds since the beginning; no process can change them."""
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        turn = Turn(callback, args, context or copy_context())
        self._enqueue(turn)
        return turn

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        turn = Turn(callback, args, context or copy_context())
        self._timed += 1
        heappush(self._timers, (when, self._timed, turn))
        return turn

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, Result] | Coroutine[Any, Any, Result],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[Result]:
        del name
        task = Job(len(self._tasks), coro, self, context)
        # Those of a dead process must not be collected: that would run what stands in `finally`.
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Do a thread's work in one step, a little later."""
        del executor
        future: asyncio.Future[Result] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(self._random() * 0.01, work)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._is_closed

    def is_closed(self) -> bool:
        return self._is_closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._is_closed or isinstance(context.get("future"), asyncio.Future):
            return
        error = context.get("exception")
        self.complaints.append(f"{context.get('message')}: {type(error).__name__}: {error}")

    def start(self, process: Process, coro: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin a task of a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(coro, context=context)

    def within(self, process: Process) -> Context:
        """Return a context whose callbacks belong to a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return context

    def run_until(self, future: asyncio.Future[Any]) -> None:
        """Go on until a future is done. Errors: CircleError."""
        token = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while not future.done():
                self._step()
        finally:
            events._set_running_loop(token)

    def kill(self, process: Process) -> None:
        """Let nothing of a process run any more."""
        process.is_dead = True
        self._set_aside(process)
        process.queue.clear()

    def pause(self, process: Process) -> None:
        """Let a process stand still while everything else goes on."""
        process.is_paused = True
        process.was_paused_at = self._now
        self._set_aside(process)

    def resume(self, process: Process) -> None:
        """Let a process go on; all that became due meanwhile comes at once."""
        process.is_paused = False
        if process.queue and not process.is_dead:
            self._ready.append(process)

    def close(self) -> None:
        """Take apart what is left, without a word."""
        self._is_closed = True
        before = events._get_running_loop()
        # What is taken apart may ask for its loop, and must not get a new one.
        events._set_running_loop(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                while self._tasks:
                    _unwind(self._tasks.pop())
        finally:
            events._set_running_loop(before)
        self._timers.clear()

    def _enqueue(self, turn: Turn) -> None:
        process = turn.process
        if process.is_dead or self._is_closed:
            return
        if not process.queue and not process.is_paused:
            self._ready.append(process)
        process.queue.append(turn)

    def _set_aside(self, process: Process) -> None:
        if process in self._ready:
            self._ready.remove(process)

    def _step(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            message = f"{MOST_STEPS} steps by {self._now:.3f} s"
            raise CircleError(message)
        index = int(self._random() * len(ready)) if len(ready) > 1 else 0
        process = ready[index]
        turn = process.queue.popleft()
        if not process.queue:
            ready[index] = ready[-1]
            ready.pop()
        if turn._cancelled:
            return
        try:
            turn.run()
        except Exception as error:  # noqa: BLE001 - a callback's; a task keeps its own
            self.call_exception_handler({"message": f"in {process}", "exception": error})

    def _advance(self) -> None:
        timers = self._timers
        if not timers:
            message = f"nothing to wait for at {self._now:.3f} s"
            raise CircleError(message)
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            turn = heappop(timers)[2]
            if not turn._cancelled:
                self._enqueue(turn)


def _unwind(task: asyncio.Task[Any]) -> None:
    if task.done():
        return
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coro: Any = task.get_coro()
    for _ in range(MOST_UNWINDING):
        try:
            coro.close()
        except BaseException:  # noqa: BLE001, S112 - what it awaits on its way out is as dead
            continue
        return
