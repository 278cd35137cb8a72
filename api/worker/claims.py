"""Claims: the worker takes deployments that are due and lets an owner carry each to its end."""

from __future__ import annotations

import asyncio

import structlog

from ...domain.append import Lease
from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import FencedError, RetryableError
from ...domain.ports import WorkQueue
from .keeper import Keeper
from .owner import Owner, Workshop

CLAIM_LIMIT = 256
POLL_SECONDS = 1.0
PAGE = 1000

_log = structlog.get_logger()


class Worker:
    """Owns deployments under leases; any number of owners at once, none delays another."""

    def __init__(self, name: str, queue: WorkQueue, workshop: Workshop, keeper: Keeper) -> None:
        self._name = name
        self._queue = queue
        self._shop = workshop
        self._keeper = keeper
        self._owners: dict[str, Owner] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def owned(self) -> int:
        """How many deployments are carried now."""
        return len(self._owners)

    async def run(self) -> None:
        """Work until cancelled; what is under way then is left for the next owner."""
        position = None
        try:
            while True:
                await self._claim()
                try:
                    position = await self._follow(position)
                except RetryableError as error:
                    # A store that is away for a while comes back; a worker that ended does not.
                    _log.warning("log_not_followed", detail=str(error))
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _claim(self) -> None:
        try:
            leases = await self._queue.claim(self._name, CLAIM_LIMIT)
        except RetryableError as error:
            _log.warning("nothing_claimed", detail=str(error))
            return
        for lease in leases:
            if lease.stream not in self._owners:
                self._own(lease)

    def _own(self, lease: Lease) -> None:
        owner = Owner(lease, self._shop, self._keeper)
        self._owners[lease.stream] = owner
        task = asyncio.create_task(self._carry(lease, owner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, lease: Lease, owner: Owner) -> None:
        try:
            is_done = await self._is_carried(lease.stream, owner)
        finally:
            del self._owners[lease.stream]
        if not is_done:
            await self._give_back(lease)

    async def _is_carried(self, stream: str, owner: Owner) -> bool:
        """Say whether a deployment has come to its end; an owner takes no other down with it."""
        try:
            await owner.run()
        except FencedError as error:
            _log.warning("deployment_taken_over", stream=stream, detail=str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the deployment needs another owner
            _log.exception("owner_failed", stream=stream)
        else:
            return True
        return False

    async def _give_back(self, lease: Lease) -> None:
        """Let it be due again: the next claim starts from what the log says."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                return await self._queue.release(lease, None)
            except RetryableError as error:
                _log.warning("not_released", stream=lease.stream, detail=str(error))

    async def _follow(self, position: int | None) -> int:
        """Wake the owners of what was written above a position, and return where that ends."""
        if position is None:
            return await self._shop.log.head()
        await self._shop.log.wait_beyond(position, POLL_SECONDS)
        while page := await self._shop.log.page(after=position, limit=PAGE):
            for recorded in page:
                position = recorded.position
                concerned = recorded.header.deployment
                if concerned and (owner := self._owners.get(deployment_stream(concerned))):
                    owner.wake()
        return position
