"""Guard: the platform as the holder of a lease may use it, that is, as long as the lease holds."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from ...domain.event import Fence
from ...domain.ports import (
    Effect,
    Ended,
    FenceClass,
    Instance,
    Launch,
    Platform,
    RevisionSpec,
    Route,
    Traffic,
)
from .leases import Tenure


class GuardedPlatform:
    """Implements `Platform` for one lease; each change passes only while the lease holds.

    The check is made where the change is sent, so that a worker that was stopped for a while and
    goes on sends nothing. What it sent at that very moment is the platform's to refuse, by the
    fence that the next owner has announced.
    """

    def __init__(self, platform: Platform, tenure: Tenure) -> None:
        self._platform = platform
        self._tenure = tenure
        self._changing = 0
        self._is_closed = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._announcing = asyncio.Lock()
        self._announced: tuple[str, Fence] | None = None

    @property
    def fence_class(self) -> FenceClass:
        """See `Platform.fence_class`."""
        return self._platform.fence_class

    async def quiet(self) -> None:
        """Begin nothing any more; return once no change is under way.

        Commands and drains that were begun go on by themselves. Who wants to begin something
        waits until it is cancelled.
        """
        self._is_closed = True
        await self._quiet.wait()

    async def announce(self, target: str, fence: Fence) -> None:
        """See `Platform.announce`; it is told once."""
        if self._announced == (target, fence):
            return
        async with self._announcing:
            if self._announced != (target, fence):
                await self._pass()
                with self._change():
                    await self._platform.announce(target, fence)
                self._announced = target, fence

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """See `Platform.prepare`."""
        await self._pass()
        with self._change():
            await self._platform.prepare(effect, workspace, source)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """See `Platform.run`; it goes on by itself, so it is no change that is waited for."""
        await self._pass()
        return await self._platform.run(effect, launch)

    async def stop(self, effect: Effect) -> None:
        """See `Platform.stop`."""
        await self._pass()
        with self._change():
            await self._platform.stop(effect)

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """See `Platform.start`."""
        await self._pass()
        with self._change():
            return await self._platform.start(effect, spec)

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """See `Platform.instances`."""
        return await self._platform.instances(target, revision)

    async def route(self, effect: Effect, route: Route) -> None:
        """See `Platform.route`."""
        await self._pass()
        with self._change():
            await self._platform.route(effect, route)

    async def routed(self, target: str) -> Route | None:
        """See `Platform.routed`."""
        return await self._platform.routed(target)

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """See `Platform.retire`; it goes on by itself, as `run` does."""
        await self._pass()
        await self._platform.retire(effect, revision, drain)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """See `Platform.traffic`."""
        return await self._platform.traffic(target)

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """See `Platform.forget`."""
        await self._platform.forget(target, deployments)

    async def _pass(self) -> None:
        await self._tenure.assure()
        if self._is_closed:
            await asyncio.Event().wait()

    @contextmanager
    def _change(self) -> Generator[None]:
        self._changing += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._changing -= 1
            if not self._changing:
                self._quiet.set()
