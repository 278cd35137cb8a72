"""Follower: keeps views at the head of the log and tells who waits for a position.

A hint from the log wakes it; a look at least every second is the truth.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush

from ...domain.errors import NotYetVisibleError
from ...domain.ports import Log
from .projecting import Observer, Projector
from .views import Views

POLL_SECONDS = 1.0


class Follower(Projector):
    """Follows the log for as long as it runs."""

    def __init__(self, log: Log, views: Views, observer: Observer | None = None) -> None:
        super().__init__(log, views, observer)
        self._hints = log
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            try:
                await self.catch_up()
                self.head = await self._hints.wait_beyond(self.position, POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - a follower that ends leaves every reader behind
                self._observer.failed(error)
                await asyncio.sleep(POLL_SECONDS)

    async def reached(self, position: int, timeout: float) -> None:
        """Return once everything up to a position is visible.

        Errors: NotYetVisibleError after `timeout` seconds.
        """
        if position <= self.position:
            return
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heappush(self._waiting, (position, self._asked, seen))
        try:
            async with asyncio.timeout(timeout):
                await seen
        except TimeoutError:
            raise NotYetVisibleError(position=position) from None

    def _advance(self, position: int) -> None:
        super()._advance(position)
        while self._waiting and self._waiting[0][0] <= self.position:
            seen = heappop(self._waiting)[2]
            if not seen.done():
                seen.set_result(None)
