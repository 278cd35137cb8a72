"""Leases as their worker has them: renewed all at once, and given up before others may take them.

A lease ends on the store's clock. The worker's own clock only says from when on it must not rely
on it any more: 0.8 of the lease after the last renewal that came through was asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

import structlog

from ...domain.append import Due, Lease
from ...domain.errors import EndingError, FenceLostError, RetryableError
from ...domain.ports import WorkQueue

RENEWED_AT = 1 / 3
"""The part of a lease after which it is renewed."""
RELIED_ON = 0.8
"""The part of a lease for which its worker relies on it."""
AGAIN_SECONDS = 0.5
LOOKS = 30
"""How often in the time of a lease it is looked whether one has to be renewed or given up."""

Result = TypeVar("Result")

_log = structlog.get_logger()


def elapsed() -> float:
    """Return seconds since some moment, those included for which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tenure:
    """One lease, as long as its worker may rely on it."""

    def __init__(self, lease: Lease, leases: Leases, until: float) -> None:
        self.lease = lease
        self.until = until
        self.is_over = False
        """Whether the lease must not be relied on any more."""
        self._leases = leases
        self._limit: asyncio.Timeout | None = None
        """The limit of what is done under the lease and ends with it."""

    def end(self) -> None:
        """Let nobody rely on the lease any more."""
        if self.is_over:
            return
        self.is_over = True
        if self._limit is not None:
            self._limit.reschedule(0)

    async def while_held(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do some work, which is cancelled with the lease. Errors: FenceLostError in that case."""
        try:
            async with asyncio.timeout(0 if self.is_over else None) as self._limit:
                return await work
        except TimeoutError:
            if not self.is_over:
                raise
            raise self._lost() from None
        finally:
            self._limit = None

    def require(self) -> None:
        """Pass while the lease holds. Errors: FenceLostError."""
        if self.is_over or self._leases.now() >= self.until:
            self.end()
            raise self._lost()

    async def assure(self) -> None:
        """Pass while the lease holds for a good while yet, renewed if need be.

        Errors: FenceLostError.
        """
        self.require()
        if self._leases.is_to_be_renewed(self):
            await self._leases.renew()
            self.require()

    def _lost(self) -> FenceLostError:
        return FenceLostError(stream=self.lease.stream, token=self.lease.token)


class Leases:
    """All leases of one worker; without `seconds` they last as long as the store is open."""

    def __init__(
        self,
        owner: str,
        queue: WorkQueue,
        seconds: float | None = None,
        now: Callable[[], float] = elapsed,
    ) -> None:
        self.now = now
        self._owner = owner
        self._queue = queue
        self._seconds = seconds
        self._held: dict[Lease, Tenure] = {}
        self._renewing = asyncio.Lock()

    async def run(self) -> None:
        """Renew what is held, and end what could not be renewed, until cancelled."""
        if self._seconds is None:
            await asyncio.Event().wait()
            return
        renewing: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(self._seconds / LOOKS)
                self._end_those_over()
                if renewing is None or renewing.done():
                    renewing = asyncio.create_task(self._renew_if_due())
        finally:
            if renewing:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)

    async def claim(self, limit: int) -> list[Tenure]:
        """Take deployments that are due. Errors: RetryableError."""
        asked_at = self.now()
        leases = await self._queue.claim(self._owner, limit)
        return [self._take(lease, asked_at) for lease in leases]

    async def hold(self, stream: str) -> Tenure | None:
        """Take a stream that is not due, or None where it is in other hands.

        Errors: RetryableError.
        """
        asked_at = self.now()
        lease = await self._queue.hold(self._owner, stream)
        return self._take(lease, asked_at) if lease else None

    async def give_back(self, tenure: Tenure, due: Due | None = None) -> None:
        """Let somebody else have it, at once or when it is due. Errors: RetryableError."""
        self.drop(tenure)
        await self._queue.release(tenure.lease, due)

    async def give_back_patiently(self, tenure: Tenure, due: Due | None = None) -> None:
        """Give it back, however often that has to be tried: it may be a lease without an end."""
        while True:
            try:
                return await self.give_back(tenure, due)
            except EndingError:
                return None  # it ends by itself, as this process does
            except RetryableError as error:
                _log.warning("not_released", stream=tenure.lease.stream, detail=str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    def drop(self, tenure: Tenure) -> None:
        """Rely on a lease no more, nor renew it."""
        self._held.pop(tenure.lease, None)
        tenure.end()

    def is_to_be_renewed(self, tenure: Tenure) -> bool:
        """Say whether so much of a lease has gone that it should have been renewed."""
        if self._seconds is None:
            return False
        return self.now() >= tenure.until - (RELIED_ON - RENEWED_AT) * self._seconds

    async def renew(self) -> None:
        """Renew everything that is held; what cannot be asked for is asked for again later."""
        async with self._renewing:
            asked_at, tenures = self.now(), dict(self._held)
            if not tenures or self._seconds is None:
                return
            try:
                async with asyncio.timeout(self._seconds * RENEWED_AT):
                    kept = set(await self._queue.renew(list(tenures)))
            except EndingError as error:
                _log.error("leases_given_up", leases=len(tenures), detail=str(error))
                for tenure in tenures.values():
                    self.drop(tenure)
                return
            except (RetryableError, TimeoutError) as error:
                _log.warning("not_renewed", leases=len(tenures), detail=str(error))
                return
            self._prolong(tenures.values(), kept, asked_at)

    async def _renew_if_due(self) -> None:
        if any(self.is_to_be_renewed(tenure) for tenure in self._held.values()):
            await self.renew()

    def _prolong(self, tenures: Collection[Tenure], kept: set[Lease], asked_at: float) -> None:
        for tenure in tenures:
            if tenure.lease in kept:
                tenure.until = max(tenure.until, self._until(asked_at))
            elif tenure.lease in self._held:
                _log.warning("lease_lost", stream=tenure.lease.stream, token=tenure.lease.token)
                self.drop(tenure)

    def _end_those_over(self) -> None:
        now = self.now()
        for tenure in [one for one in self._held.values() if now >= one.until]:
            _log.warning("lease_given_up", stream=tenure.lease.stream, token=tenure.lease.token)
            self.drop(tenure)

    def _take(self, lease: Lease, asked_at: float) -> Tenure:
        tenure = Tenure(lease, self, self._until(asked_at))
        self._held[lease] = tenure
        return tenure

    def _until(self, asked_at: float) -> float:
        return float("inf") if self._seconds is None else asked_at + RELIED_ON * self._seconds
