"""Claims: the worker takes deployments that are due and lets an owner carry each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

import structlog

from ...domain.append import Due
from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import EndingError, FencedError, RetryableError, UnknownTopicError
from ...domain.event import Recorded
from ...domain.target import Target
from .keeper import Keeper
from .leases import Leases, Tenure
from .owner import Owner, Workshop
from .unreadable import Unreadable

CLAIM_LIMIT = 256
POLL_SECONDS = 0.5
PAGE = 1000

_log = structlog.get_logger()


class Worker:
    """Owns deployments under leases; any number of owners at once, none delays another."""

    def __init__(self, leases: Leases, workshop: Workshop, keeper: Keeper) -> None:
        self._leases = leases
        self._shop = workshop
        self._keeper = keeper
        self._owners: dict[str, Owner] = {}
        self._unreadable = Unreadable()
        self._put_off: dict[str, Due] = {}
        """What is not due again at once when it is given back."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Lock()
        self._claim_at = 0.0
        """When to claim again at the latest, on the loop's clock."""
        self._is_draining = False

    @property
    def owned(self) -> int:
        """How many deployments are carried now."""
        return len(self._owners)

    async def run(self) -> None:
        """Work until cancelled; what is under way then is left for the next owner."""
        position: int | None = None
        try:
            while True:
                try:
                    position = await self._go_on(position)
                except RetryableError as error:
                    _log.warning("nothing_claimed", detail=str(error))
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await self._end(self._tasks)

    async def drain(self, seconds: float) -> None:
        """Claim nothing more and give back what is held, each deployment where nothing is cut off.

        What has not come to such a place after so many seconds is given back all the same.
        """
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # What is just being claimed is not known to be ours before the answer is here.
                async with self._claiming:
                    for owner in self._owners.values():
                        owner.leave()
                while self._tasks:
                    await asyncio.wait(self._tasks)
        late = [owner.tenure for owner in self._owners.values()]
        await self._end(self._tasks)
        for tenure in late:
            with suppress(RetryableError, EndingError):
                await self._leases.give_back(tenure)

    async def _go_on(self, position: int | None) -> int:
        now = asyncio.get_running_loop().time
        if position is None:
            position = await self._shop.log.head()
        if now() >= self._claim_at:
            await self._claim()
            self._claim_at = now() + POLL_SECONDS
        head = await self._shop.log.wait_beyond(position, max(self._claim_at - now(), 0.0))
        return await self._follow(position, head)

    async def _claim(self) -> None:
        async with self._claiming:
            if self._is_draining:
                return
            for tenure in await self._leases.claim(CLAIM_LIMIT):
                if tenure.lease.stream in self._owners:
                    # Ours until it ended unnoticed: that owner has to go before there is another.
                    self._begin(self._leases.give_back_patiently(tenure))
                else:
                    self._own(tenure)

    def _own(self, tenure: Tenure) -> None:
        owner = Owner(tenure, self._shop, self._keeper)
        self._owners[tenure.lease.stream] = owner
        self._begin(self._carry(tenure, owner))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, tenure: Tenure, owner: Owner) -> None:
        try:
            is_done = await self._is_carried(tenure, owner)
        finally:
            del self._owners[tenure.lease.stream]
        if is_done:
            self._leases.drop(tenure)
        else:
            # It is due again: the next claim starts from what the log says.
            due = self._put_off.pop(tenure.lease.stream, None)
            await self._leases.give_back_patiently(tenure, due)

    async def _is_carried(self, tenure: Tenure, owner: Owner) -> bool:
        """Say whether a deployment has come to its end; an owner takes no other down with it."""
        stream = tenure.lease.stream
        try:
            return await tenure.while_held(owner.run())
        except FencedError as error:
            _log.warning("deployment_taken_over", stream=stream, detail=str(error))
        except UnknownTopicError as error:
            now = self._shop.outside.clock.now()
            self._put_off[stream] = self._unreadable.put_off(stream, error, now)
            return False
        except Exception:  # noqa: BLE001 - whatever it is, the deployment needs another owner
            _log.exception("owner_failed", stream=stream)
        if not self._is_draining:
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _follow(self, position: int, head: int) -> int:
        while position < head and (page := await self._shop.log.newer(after=position, limit=PAGE)):
            self._shop.streams.learn(page)
            for recorded in page:
                if concerned := recorded.header.deployment:
                    self._tell(deployment_stream(concerned), recorded)
            position = page[-1].position
        return position

    def _tell(self, stream: str, recorded: Recorded) -> None:
        """Let the owner of a deployment know of an event; one that has none may be due by it."""
        if owner := self._owners.get(stream):
            owner.hear(recorded)
        elif recorded.header.fence is None or recorded.header.topic == Target.Held.TOPIC:
            self._claim_at = 0.0

    @staticmethod
    async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
        ending = [*tasks]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
