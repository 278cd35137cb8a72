"""Follower: keeps views at the head of the log and tells who waits for a position.

Of the processes that share views one moves them; in the others the follower learns how far they
are. A hint wakes it; a look at least every second, of the others every half, is the truth.
"""

from __future__ import annotations

import asyncio
import time
from heapq import heappop, heappush

from ...domain.errors import NotYetVisibleError
from ...domain.ports import Log
from .projecting import LEAST_PAGE, Observer, Projector
from .views import Moved, Views

POLL_SECONDS = 1.0
OTHERS_SECONDS = 0.5
"""How often a process looks that does not move the views: what it sees is a poll old already."""


class Follower(Projector):
    """Follows the log for as long as it runs."""

    def __init__(self, log: Log, views: Views, observer: Observer | None = None) -> None:
        super().__init__(log, views, observer)
        self._hints = log
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0
        self._leads = not views.is_shared
        self._looked_at = 0.0
        self._generation: int = 0

    @property
    def leads(self) -> bool:
        """Whether it is this process that moves the views."""
        return self._leads

    @property
    def _is_to_look(self) -> bool:
        """Whether it is time to see who moves the views."""
        pause = POLL_SECONDS if self._leads else OTHERS_SECONDS
        return self.views.is_shared and time.monotonic() - self._looked_at >= pause

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            try:
                if self._is_to_look:
                    await self._look()
                if self._leads:
                    await self.catch_up()
                    await self._keep_up()
                else:
                    self._learn(await self.views.moved(OTHERS_SECONDS))
            except Exception as error:  # noqa: BLE001 - a follower that ends leaves every reader behind
                self._looked_at = 0.0
                self._leads = not self.views.is_shared
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

    async def _keep_up(self) -> None:
        """Apply what comes for as long as some does; what this process writes is not read again."""
        self.head = await self._hints.wait_beyond(self.position, POLL_SECONDS)
        while self.position < self.head and not self._is_to_look:
            async with self._turn:
                events = await self._hints.newer(after=self.position, limit=LEAST_PAGE)
                if events:
                    await self._apply(events)
            if len(events) in {0, LEAST_PAGE}:
                return  # nothing after all, or so much that larger pages are worth it
            self.head = await self._hints.wait_beyond(self.position, POLL_SECONDS)

    async def _look(self) -> None:
        """Find out who moves the views, how far they are, and whether they are the same still."""
        async with self._turn:
            leads = await self._thread.do(self.views.lead)
            position, generation = await self._thread.do(self.views.place)
            if generation != self._generation or position != self.position:
                self._tell(None)
            self._generation, self._leads = generation, leads
            self.position = position
            self._advance(position)
        self.head = max(self.position, await self._hints.head())
        self._looked_at = time.monotonic()

    def _learn(self, moved: Moved | None) -> None:
        """Take over what another process says that it has done."""
        if moved is None or (moved.streams is not None and moved.position <= self.position):
            return
        self._tell(moved.streams if moved.after == self.position else None)
        self._advance(moved.position)

    def _advance(self, position: int) -> None:
        super()._advance(position)
        while self._waiting and self._waiting[0][0] <= self.position:
            seen = heappop(self._waiting)[2]
            if not seen.done():
                seen.set_result(None)
