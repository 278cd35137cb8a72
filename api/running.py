"""Running: everything that goes on in one process, from the first connection to an orderly end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..domain.deployment import Deployment
from ..domain.environment import Environment
from ..domain.ports import Log, WorkQueue
from ..domain.stages import Outside
from ..domain.streams import Streams
from ..domain.target import Target
from .server import make_app
from .services import Services
from .signals import logs
from .wire.listener import Listener
from .worker.claims import Worker
from .worker.keeper import Keeper
from .worker.leases import Leases
from .worker.owner import Workshop
from .worker.restorer import Restorer

LOOK_SECONDS = 1.0
DRAIN_SECONDS = 10.0
"""How long a worker that is told to end lets what changes a target come to its end."""

_log = logs.get("up")


def _own_name() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What the worker of a process works with."""

    log: Log
    streams: Streams
    queue: WorkQueue
    outside: Outside
    system: str
    """Subject id of the system itself."""
    targets: Callable[[], Awaitable[Iterable[str]]]
    """Names the targets that may have to be restored."""
    lease_seconds: float | None
    """None where a lease lasts as long as the process has the store."""
    name: str = field(default_factory=_own_name)


async def _at_once() -> None:
    """Begin or end without ceremony."""


@dataclass(frozen=True)
class Part:
    """Something that a process does: what goes on at once, and how it begins and ends in order."""

    goes_on: Sequence[Coroutine[Any, Any, None]]
    begin: Callable[[], Awaitable[None]] = _at_once
    end: Callable[[], Awaitable[None]] = _at_once


async def run(*parts: Part) -> None:
    """Do all parts until SIGTERM or SIGINT, or until one of them fails for good."""
    logs.configure()
    # What is there by now stays for as long as the process: the collector need not look at it
    # again, for which every answer would wait.
    gc.collect()
    gc.freeze()
    ended = _when_told_to_end()
    tasks = [asyncio.create_task(one) for part in parts for one in part.goes_on]
    try:
        for part in parts:
            await part.begin()
        await asyncio.wait((ended, *tasks), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await asyncio.gather(*(part.end() for part in parts))
        for task in tasks:
            task.cancel()
        await _settled(tasks)


def serving(services: Services, host: str, port: int, ready: Callable[[str], None]) -> Part:
    """Return the part that answers HTTP and follows the log; `ready` learns its address."""
    listener = Listener(make_app(services))

    async def begin() -> None:
        bound_host, bound_port = await listener.start(host, port)
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        ready(f"http://{shown}:{bound_port}")

    return Part((services.follower.run(), _until_broken(services)), begin, listener.stop)


def working(crew: Crew) -> Part:
    """Return the part that carries deployments on, and restores what is live."""
    keeping: set[asyncio.Task[None]] = set()

    def on_end(deployment: Deployment, target: Target, where: Environment) -> None:
        _log.info("deployment_ended", deployment=deployment.id, status=deployment.status.value)
        task = asyncio.create_task(_forget(crew, target, where))
        keeping.add(task)
        task.add_done_callback(keeping.discard)

    workshop = Workshop(crew.log, crew.streams, crew.outside, crew.system, on_end)
    leases = Leases(crew.name, crew.queue, crew.lease_seconds)
    keeper = Keeper(workshop)
    worker = Worker(leases, workshop, keeper)
    restorer = Restorer(leases, crew.outside.clock, keeper, crew.targets)

    async def drain() -> None:
        if crew.lease_seconds is not None:
            await asyncio.gather(worker.drain(DRAIN_SECONDS), restorer.drain(DRAIN_SECONDS))

    return Part((leases.run(), worker.run(), restorer.run()), end=drain)


async def _until_broken(services: Services) -> None:
    """Fail once the store cannot be written any more: it must be opened, and verified, anew."""
    while (broken := services.broken()) is None:
        await services.clock.sleep(LOOK_SECONDS)
    raise broken


async def _forget(crew: Crew, target: Target, where: Environment) -> None:
    """Let the platform delete the workspaces that the bounded history no longer names."""
    kept = target.workspaces_kept(where.document["history_limit"])
    gone = [name for name in target.finished if name not in kept]
    if not gone:
        return
    try:
        await crew.outside.platform.forget(target.name, gone)
    except Exception as error:  # noqa: BLE001 - the next end of a deployment tries again
        _log.warning("workspaces_kept", target=target.name, detail=str(error))


def _when_told_to_end() -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    return ended


async def _settled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
