"""Restorer: what is live at targets that nobody holds is looked at each second.

The names to look at may come from a read model, for they are only a hint: what is done about one
is decided on its stream. A target that is held is in its holder's hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import structlog

from ...domain.ports import Clock
from .keeper import LOOK_SECONDS, Keeper
from .leases import Leases

AT_ONCE = 8

_log = structlog.get_logger()


class Restorer:
    """Looks after every target that is free; of several at one target, one restores it."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        keeper: Keeper,
        names: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._keeper = keeper
        self._names = names
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._is_draining = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while not self._is_draining:
            self._quiet.clear()
            try:
                await asyncio.gather(*map(self._look, await self._names()))
            except Exception as error:  # noqa: BLE001 - the next look tries again
                _log.warning("targets_unknown", detail=str(error))
            finally:
                self._quiet.set()
            await self._clock.sleep(LOOK_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Begin no further look, and wait for those under way, but no longer than that."""
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()

    async def _look(self, name: str) -> None:
        async with self._turns:
            if not self._is_draining:
                await self._keeper.keep_free(name, self._leases)
