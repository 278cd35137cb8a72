"""The agent: keeps workspaces, commands, instances and the router, and outlives servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ....domain.errors import InvalidError
from ....domain.event import Fence
from ....domain.ports import Effect, Ended, Instance, Launch, RevisionSpec, Route, Traffic
from .children import Shims
from .fences import Fences
from .instances import Instances
from .journal import Journal
from .router.router import Router
from .runs import Runs
from .workspaces import Workspaces

COPIES_AT_ONCE = 4
FENCES = "fences.json"

_TARGET = re.compile(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Agent:
    """The platform itself, in one process; each verb is the port's."""

    def __init__(self, folder: Path, data: Path, lock: int) -> None:
        """Keep everything in a folder of the data folder, whose lock all children share."""
        shims = Shims(lock)
        self._router = Router()
        self._fences = Fences(folder / FENCES)
        self._journal = Journal(folder / "journal")
        self._workspaces = Workspaces(folder / "workspaces", data)
        self._runs = Runs(self._journal, self._workspaces, shims)
        self._instances = Instances(self._router, self._workspaces, shims, self._journal)
        self._copying = ThreadPoolExecutor(COPIES_AT_ONCE)

    async def announce(self, target: str, fence: Fence) -> None:
        """See `Platform.announce`."""
        _check(_TARGET, target)
        await self._fences.announce(target, fence)

    async def accept(self) -> None:
        """Refuse from now on whoever's log was accepted less often than the caller's."""
        await self._fences.accept()

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """See `Platform.prepare`."""
        await self._admit(effect, workspace)
        await self._in_thread(self._workspaces.prepare, effect.target, workspace, source)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """See `Platform.run`."""
        await self._admit(effect, launch.workspace)
        return await self._runs.run(effect, launch)

    async def stop(self, effect: Effect) -> None:
        """See `Platform.stop`."""
        await self._admit(effect)
        await self._runs.stop(effect)

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """See `Platform.start`."""
        async with self._passing(effect, spec.launch.workspace):
            return await self._instances.start(effect, spec)

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """See `Platform.instances`."""
        return self._instances.of(target, revision)

    async def route(self, effect: Effect, route: Route) -> None:
        """See `Platform.route`."""
        async with self._passing(effect):
            self._journal.require_open(effect)
            await self._router.route(effect.target, route)

    async def routed(self, target: str) -> Route | None:
        """See `Platform.routed`."""
        return self._router.routed(target)

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """See `Platform.retire`."""
        await self._admit(effect)
        self._journal.require_open(effect)
        await self._instances.retire(effect, revision, drain)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """See `Platform.traffic`."""
        return self._router.traffic(target)

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """See `Platform.forget`."""
        _check(_TARGET, target)
        for deployment in deployments:
            _check(_ID, deployment)
        used = self._runs.workspaces(target) | self._instances.workspaces(target)
        gone = set(deployments) - used
        await self._in_thread(self._workspaces.forget, target, gone)
        await self._in_thread(self._journal.forget, target, gone)

    async def close(self) -> None:
        """End the router, all children and all copies."""
        self._workspaces.close()
        await self._router.close()
        await asyncio.gather(self._runs.close(), self._instances.close())
        self._copying.shutdown(wait=False, cancel_futures=True)

    async def _admit(self, effect: Effect, workspace: str | None = None) -> None:
        """Refuse what would leave our folders, or comes from somebody who was taken over."""
        _check_names(effect, workspace)
        await self._fences.admit(effect.target, effect.fence)

    @asynccontextmanager
    async def _passing(self, effect: Effect, workspace: str | None = None) -> AsyncGenerator[None]:
        """Admit a change that who takes over waits for."""
        _check_names(effect, workspace)
        async with self._fences.passing(effect.target, effect.fence):
            yield

    async def _in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._copying, function, *arguments)


def _check_names(effect: Effect, workspace: str | None) -> None:
    _check(_TARGET, effect.target)
    _check(_ID, effect.key.deployment)
    _check(_ID, effect.key.deployment if workspace is None else workspace)


def _check(pattern: re.Pattern[str], name: str) -> None:
    if not pattern.fullmatch(name):
        message = f"{name!r} is no name of a target, deployment or workspace"
        raise InvalidError(message)
