"""Attempt: one try of one stage, kept within its deadline; whatever happens, it has an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from ...domain.commands import FinishStage
from ...domain.deployment import StageStatus
from ...domain.errors import FencedError, LedgerError, PlatformUnavailableError
from ...domain.stages import (
    CANCEL,
    Outcome,
    RetireSpec,
    RunSpec,
    Work,
    looks_outside,
)
from ...domain.stages.work import errored
from . import doubt

GRACE_SECONDS = 5.0
"""What the platform gets beyond a deadline to end processes by it and to tell."""
LATE_SECONDS = 1.0
"""What a try gets beyond its deadline that has no process to be ended by it."""
STOP_SECONDS = 10.0
"""What a command gets to end when it is cancelled."""
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0

Result = TypeVar("Result")

_log = structlog.get_logger()


class Attempt:
    """A try under way; `stop` ends it as cancelled, `drop` leaves it for the next owner."""

    def __init__(self, work: Work, when_done: Callable[[], None]) -> None:
        self._work = work
        self._is_stopped = False
        self._limit: asyncio.Timeout | None = None
        """What ends it at its deadline, or as soon as it is stopped."""
        self._when_done = when_done
        self._task = asyncio.create_task(self._run())

    @property
    def outcome(self) -> FinishStage | None:
        """How it ended, or None while it runs. Errors: FencedError if somebody took over."""
        return self._task.result() if self._task.done() else None

    def stop(self) -> None:
        """Let it end as cancelled, also before it has begun; twice is once."""
        if self._is_stopped or self._task.done():
            return
        self._is_stopped = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0)

    def drop(self) -> asyncio.Task[FinishStage]:
        """Wait for it no more; what it has started goes on. Return what is left to be awaited."""
        self._task.cancel()
        return self._task

    async def _run(self) -> FinishStage:
        try:
            outcome = await self._outcome()
        finally:
            # Nobody can look before the next turn of the loop, and by then this task is done.
            self._when_done()
        return FinishStage(
            stage=self._work.stage.name,
            attempt=self._work.effect.key.attempt,
            outcome=outcome.status,
            message=outcome.message,
            output=outcome.output,
            lost=outcome.lost,
            unknown=outcome.unknown,
            facts=outcome.facts,
        )

    async def _outcome(self) -> Outcome:
        if not self._is_stopped:
            outcome = await self._guarded(self._within_deadline())
            if not self._is_cut_off:
                return outcome
        return await self._guarded(_cancelled(self._work))

    @property
    def _is_cut_off(self) -> bool:
        """Whether it was stopped before it had come to its end."""
        return self._is_stopped and (self._limit is None or self._limit.expired())

    async def _guarded(self, outcome: Coroutine[Any, Any, Outcome]) -> Outcome:
        try:
            return await outcome
        except FencedError:
            raise
        except LedgerError as error:
            return errored(str(error))
        except Exception as error:  # noqa: BLE001 - a try must not take its owner down
            _log.exception("attempt_errored", effect=str(self._work.effect.key))
            return errored(f"{type(error).__name__}: {error}")

    async def _within_deadline(self) -> Outcome:
        work = self._work
        late = GRACE_SECONDS if isinstance(work.stage.spec, (RunSpec, RetireSpec)) else LATE_SECONDS
        left = (work.effect.deadline - work.outside.clock.now()).total_seconds()
        # After a takeover the deadline may have passed: one look at the world is still due.
        seconds = left + late if left > 0 else GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds) as self._limit:
                return await _until_reachable(lambda: _perform(work), work, work.effect.deadline)
        except TimeoutError:
            return doubt.late(work)


async def _perform(work: Work) -> Outcome:
    if looks_outside(work.stage.spec):
        # First of all, so that nobody who had this before us changes what is then seen.
        await work.outside.platform.announce(work.effect.target, work.effect.fence)
    return await doubt.perform(work)


async def _until_reachable(
    act: Callable[[], Awaitable[Result]], work: Work, deadline: datetime
) -> Result:
    pause = FIRST_RETRY_SECONDS
    while True:
        try:
            return await act()
        except PlatformUnavailableError:
            if work.outside.clock.now() >= deadline:
                raise
        await work.outside.clock.sleep(pause)
        pause = min(pause * 2, LAST_RETRY_SECONDS)


async def _cancelled(work: Work) -> Outcome:
    message, output = "It was cancelled.", None
    if ending := CANCEL.get(type(work.stage.spec)):
        deadline = work.outside.clock.now() + timedelta(seconds=STOP_SECONDS)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                output = await _until_reachable(
                    lambda: ending(work.stage.spec, work), work, deadline
                )
        except (TimeoutError, PlatformUnavailableError):
            message = "It was cancelled; whether it has ended cannot be seen."
    return Outcome(status=StageStatus.CANCELLED, message=message, output=output)
