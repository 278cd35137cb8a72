"""WorkingThread: the one thread in which some views are worked on, one job after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .folding import Folding

LOOK_SECONDS = 0.25
"""How often a fold is looked at that does not end."""

Result = TypeVar("Result")


class WorkingThread:
    """Does what blocks, so that the event loop is not blocked."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "views")

    async def do(self, job: Callable[[], Result]) -> Result:
        """Do a job; where the caller is cancelled, the job is finished all the same, first."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def fold(self, folding: Folding, job: Callable[[], Result]) -> Result:
        """Do a job that folds events, which is called off where it takes more than it may."""
        looks = _Looks(folding)
        try:
            return await self.do(job)
        finally:
            looks.end()

    def close(self) -> None:
        """Do no more."""
        self._executor.shutdown()


class _Looks:
    """Looks at a fold now and then until it has ended."""

    def __init__(self, folding: Folding) -> None:
        self._folding = folding
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        self._folding.look()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
