"""Claims: the worker takes deployments that are due and lets an owner carry each to its end."""

from __future__ import annotations

import asyncio

import structlog

from ...domain.append import Lease
from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import FencedError
from ...domain.ports import WorkQueue
from .owner import Owner, Workshop

CLAIM_LIMIT = 256
POLL_SECONDS = 1.0
PAGE = 1000

_log = structlog.get_logger()


class Worker:
    """Owns deployments under leases; any number of owners at once, none delays another."""

    def __init__(self, name: str, queue: WorkQueue, workshop: Workshop) -> None:
        self._name = name
        self._queue = queue
        self._shop = workshop
        self._owners: dict[str, Owner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def owned(self) -> int:
        """How many deployments are carried now."""
        return len(self._owners)

    async def run(self) -> None:
        """Work until cancelled; what is under way then is left for the next owner."""
        position = await self._shop.log.head()
        try:
            while True:
                await self._claim()
                await self._shop.log.wait_beyond(position, POLL_SECONDS)
                position = await self._follow(position)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _claim(self) -> None:
        for lease in await self._queue.claim(self._name, CLAIM_LIMIT):
            if lease.stream not in self._owners:
                self._own(lease)

    def _own(self, lease: Lease) -> None:
        owner = Owner(lease, self._shop)
        self._owners[lease.stream] = owner
        self._tasks[lease.stream] = asyncio.create_task(self._carry(lease, owner))

    async def _carry(self, lease: Lease, owner: Owner) -> None:
        try:
            await owner.run()
        except FencedError as error:
            _log.warning("deployment_taken_over", stream=lease.stream, detail=str(error))
        except Exception:  # noqa: BLE001 - one owner must not take the others down
            # It is due again: the next claim starts from what the log says.
            _log.exception("owner_failed", stream=lease.stream)
            await asyncio.sleep(POLL_SECONDS)
            await self._queue.release(lease, None)
        finally:
            del self._owners[lease.stream]
            del self._tasks[lease.stream]

    async def _follow(self, position: int) -> int:
        while page := await self._shop.log.page(after=position, limit=PAGE):
            for recorded in page:
                position = recorded.position
                concerned = recorded.header.deployment
                if concerned and (owner := self._owners.get(deployment_stream(concerned))):
                    owner.wake()
        return position
