"""Restorer: what is live at targets that nobody holds is looked at each second.

The names to look at may come from a read model, for they are only a hint: what is done about one
is decided on its stream. A target that is held is in its holder's hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ...domain.append import Lease
from .keeper import LOOK_SECONDS, Keeper
from .owner import Workshop

AT_ONCE = 8


class Restorer:
    """Looks after every target that is free."""

    def __init__(
        self,
        token: int,
        workshop: Workshop,
        keeper: Keeper,
        names: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        self._lease = Lease("", token, workshop.actor)
        self._clock = workshop.outside.clock
        self._keeper = keeper
        self._names = names
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.gather(*map(self._look, await self._names()))
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self, name: str) -> None:
        async with self._turns:
            await self._keeper.keep(name, self._lease, None)
