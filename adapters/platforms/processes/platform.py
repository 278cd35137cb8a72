"""The platform of local processes as the server sees it: calls to an agent, started if need be."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from ....domain.errors import PlatformUnavailableError
from ....domain.event import Fence
from ....domain.ports import (
    Effect,
    Ended,
    FenceClass,
    Instance,
    Launch,
    RevisionSpec,
    Route,
    Traffic,
)
from . import control, daemon
from .agent import FENCES
from .daemon import ANOTHER_LIVES, SOCKET
from .fences import accept

START_WITHIN = 15.0
"""Seconds in which an agent must answer: it may have to wait for one that is ending."""
ANSWER_WITHIN = 30.0
"""Seconds for an answer, beyond the effect's deadline where there is one."""
_TICK = 0.02
_AGENT = (sys.executable, "-P", "-m", f"{__package__}.daemon")


def _by_the_wall() -> datetime:
    return datetime.now(UTC)


class ProcessesPlatform:
    """Runs everything by the agent of a data folder."""

    fence_class = FenceClass.FENCED

    def __init__(
        self, data: Path, now: Callable[[], datetime] = _by_the_wall, accepted: int = 0
    ) -> None:
        """Call the agent of a data folder.

        `now` is the clock of the effects' deadlines; `accepted` is how often an operator has taken
        a log as it is, in the log on which the effects rest.
        """
        self._accepted = accepted
        self._data = data.resolve()
        self._now = now
        self._starting = asyncio.Lock()

    async def announce(self, target: str, fence: Fence) -> None:
        """See `Platform.announce`."""
        await self._call("announce", target, fence)

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """See `Platform.prepare`."""
        await self._call("prepare", effect, workspace, source)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """See `Platform.run`."""
        ended: Ended = await self._call("run", effect, _with_inherited(launch))
        return ended

    async def stop(self, effect: Effect) -> None:
        """See `Platform.stop`."""
        await self._call("stop", effect)

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """See `Platform.start`."""
        spec = msgspec.structs.replace(spec, launch=_with_inherited(spec.launch))
        instances: Sequence[Instance] = await self._call("start", effect, spec)
        return instances

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """See `Platform.instances`."""
        instances: Sequence[Instance] = await self._call("instances", target, revision)
        return instances

    async def route(self, effect: Effect, route: Route) -> None:
        """See `Platform.route`."""
        await self._call("route", effect, route)

    async def routed(self, target: str) -> Route | None:
        """See `Platform.routed`."""
        route: Route | None = await self._call("routed", target)
        return route

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """See `Platform.retire`."""
        await self._call("retire", effect, revision, drain)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """See `Platform.traffic`."""
        traffic: Mapping[str, Traffic] = await self._call("traffic", target)
        return traffic

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """See `Platform.forget`."""
        await self._call("forget", target, tuple(deployments))

    async def _call(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401  the port's hints say which
        try:
            connection = await self._connect()
        except OSError as error:
            raise PlatformUnavailableError(detail=f"its agent: {error}") from error
        # The agent has the wall clock, which may have been set since our clock began.
        ahead = _by_the_wall() - self._now()
        arguments = tuple(_put_off(argument, ahead) for argument in arguments)
        try:
            async with asyncio.timeout(_seconds_left(arguments) + ANSWER_WITHIN):
                return await control.call(connection, verb, arguments, self._accepted)
        except TimeoutError as error:
            raise PlatformUnavailableError(detail="its agent does not answer") from error

    async def _connect(self) -> control.Connection:
        if connection := await _connect(self._data):
            return connection
        async with self._starting:
            return await _connect(self._data) or await _start(self._data)


async def stop_agent(data: Path) -> bool:
    """End the agent of a data folder, its children and its router; return whether there was one.

    Errors: PlatformUnavailableError where it does not answer or does not end.
    """
    connection = await _connect(data)
    if connection is None:
        return False
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await control.call(connection, control.SHUTDOWN, ())
            while _is_locked(data / "agent" / "lock"):  # noqa: ASYNC110  a lock tells nobody
                await asyncio.sleep(_TICK)
    except TimeoutError as error:
        raise PlatformUnavailableError(detail="its agent does not end") from error
    return True


async def accept_log(data: Path, accepted: int) -> None:
    """Let effects of a log that was accepted less often be refused at this host.

    What runs goes on. Errors: PlatformUnavailableError where its agent does not answer.
    """
    connection = await _connect(data)
    if connection is None:
        if await asyncio.to_thread(_is_accepted, data / "agent", accepted):
            return
        connection = await _connect(data)
    if connection is None:
        raise PlatformUnavailableError(detail="its agent is just starting or ending")
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await control.call(connection, control.ACCEPT, (), accepted)
    except TimeoutError as error:
        raise PlatformUnavailableError(detail="its agent does not answer") from error


def _is_accepted(folder: Path, accepted: int) -> bool:
    """Note it where no agent lives; say whether that was so."""
    if not folder.is_dir():
        return True
    with daemon.locked(folder) as lock:
        if lock is not None:
            accept(folder / FENCES, accepted)
        return lock is not None


async def _connect(data: Path) -> control.Connection | None:
    file = data / "agent" / SOCKET
    return await control.connect(Path(file.read_text())) if file.exists() else None


async def _start(data: Path) -> control.Connection:
    """Start an agent that is no child of ours; while another one is ending, try again."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    end = time.monotonic() + START_WITHIN
    while True:
        starter = await asyncio.create_subprocess_exec(
            *_AGENT, str(data), stdin=null, stdout=null, stderr=pipe, start_new_session=True
        )
        _, said = await starter.communicate()
        if connection := await _connect(data):
            return connection
        if starter.returncode not in (0, ANOTHER_LIVES) or time.monotonic() > end:
            why = said.decode(errors="replace").strip().rpartition("\n")[2]
            log = data / "agent" / "agent.log"
            raise PlatformUnavailableError(detail=why or f"its agent does not start, see {log}")


def _is_locked(path: Path) -> bool:
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _with_inherited(launch: Launch) -> Launch:
    """Resolve the names to inherit here: the agent's environment may be an older server's."""
    inherited = {name: os.environ[name] for name in launch.inherit if name in os.environ}
    return msgspec.structs.replace(launch, env={**inherited, **launch.env}, inherit=())


def _put_off(argument: object, seconds: timedelta) -> object:
    if not isinstance(argument, Effect):
        return argument
    return msgspec.structs.replace(argument, deadline=argument.deadline + seconds)


def _seconds_left(arguments: Sequence[object]) -> float:
    effects = [argument for argument in arguments if isinstance(argument, Effect)]
    left = [(effect.deadline - _by_the_wall()).total_seconds() for effect in effects]
    return max([*left, 0.0])
