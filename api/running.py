"""Running: everything that goes on in one process, from the first connection to an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from ..domain.deployment import Deployment
from ..domain.environment import Environment
from ..domain.ports import WorkQueue
from ..domain.stages import Outside
from ..domain.target import Target
from ..projections import targets
from .server import make_app
from .services import Services
from .signals import logs
from .wire.listener import Listener
from .worker.claims import Worker
from .worker.keeper import Keeper
from .worker.owner import Workshop
from .worker.restorer import Restorer

LOOK_SECONDS = 1.0

_log = logs.get("up")


@dataclass(frozen=True)
class House:
    """What the assembly has wired, to be run."""

    services: Services
    queue: WorkQueue
    outside: Outside
    system: str
    """Subject id of the system itself."""
    token: int
    """The token of every lease of this process."""


async def run(house: House, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve, work and follow until SIGTERM or SIGINT, or until a part fails for good."""
    logs.configure()
    ended = _when_told_to_end()
    listener = Listener(make_app(house.services))
    parts = _parts(house)
    try:
        bound_host, bound_port = await listener.start(host, port)
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        ready(f"http://{shown}:{bound_port}")
        await asyncio.wait((ended, *parts), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await listener.stop()
        for part in parts:
            part.cancel()
        await _settled(parts)


def _parts(house: House) -> list[asyncio.Task[None]]:
    services = house.services
    keeping: set[asyncio.Task[None]] = set()

    def on_end(deployment: Deployment, target: Target, where: Environment) -> None:
        _log.info("deployment_ended", deployment=deployment.id, status=deployment.status.value)
        task = asyncio.create_task(_forget(house, target, where))
        keeping.add(task)
        task.add_done_callback(keeping.discard)

    workshop = Workshop(services.log, services.door.streams, house.outside, house.system, on_end)
    keeper = Keeper(workshop)
    worker = Worker(f"{os.uname().nodename}:{os.getpid()}", house.queue, workshop, keeper)
    restorer = Restorer(house.token, workshop, keeper, lambda: _targets(services))
    running: Sequence[Coroutine[Any, Any, None]] = (
        services.follower.run(),
        worker.run(),
        restorer.run(),
        _until_broken(services),
    )
    return [asyncio.create_task(part) for part in running]


async def _until_broken(services: Services) -> None:
    """Fail once the store cannot be written any more: it must be opened, and verified, anew."""
    while (broken := services.broken()) is None:
        await services.clock.sleep(LOOK_SECONDS)
    raise broken


async def _forget(house: House, target: Target, where: Environment) -> None:
    """Let the platform delete the workspaces that the bounded history no longer names."""
    kept = target.workspaces_kept(where.document["history_limit"])
    gone = [name for name in target.finished if name not in kept]
    if not gone:
        return
    try:
        await house.outside.platform.forget(target.name, gone)
    except Exception as error:  # noqa: BLE001 - the next end of a deployment tries again
        _log.warning("workspaces_kept", target=target.name, detail=str(error))


async def _targets(services: Services) -> list[str]:
    return await services.follower.views.read(targets.names)


def _when_told_to_end() -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    return ended


async def _settled(parts: Sequence[asyncio.Task[None]]) -> None:
    for result in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
