"""WorkingThread: the one thread in which some views are worked on, one job after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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

    def close(self) -> None:
        """Do no more."""
        self._executor.shutdown()
