"""Children: a launch becomes what the shim is told, and the shim keeps the command."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import msgspec

from ....domain.language.placeholders import fill
from ....domain.ports import Effect, Launch
from .shim import HOPELESS, PR_SET_CHILD_SUBREAPER, TICK, descendants, send

DEFAULT_PATH = (str(Path(sys.executable).parent), "/usr/bin", "/bin")
"""Where a bare argv[0] is looked up if the launch does not say."""
KEPT_BYTES = 1024 * 1024
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

_SHIM = (sys.executable, "-I", "-S", "-X", "utf8", str(Path(__file__).with_name("shim.py")))
_PIPE = asyncio.subprocess.PIPE


class CannotStartError(Exception):
    """Why a command cannot be started."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What the shim is told; it goes through a pipe, never through arguments."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    secrets: tuple[str, ...]
    output: str
    """The file for what is printed."""
    newest: bool
    """Keep the newest bytes and not the first; the older half of them in `….1`."""
    seconds: float | None
    """How long it may run."""
    limit: int = KEPT_BYTES
    grace: float = GRACE


class Report(msgspec.Struct, frozen=True):
    """What the shim tells at the end."""

    exit: int | None
    signal: int | None
    timed_out: bool
    truncated: bool
    last: str
    """The last line that was printed."""


class _Told(msgspec.Struct):
    """What the shim tells at the start."""

    pid: int = 0
    error: str | None = None


class Child:
    """A command under its shim."""

    def __init__(
        self, shim: asyncio.subprocess.Process, pid: int, end: Awaitable[Report | None]
    ) -> None:
        self.pid = pid
        self.end = asyncio.ensure_future(end)
        """How it ended; None where the shim was killed and nobody can say."""
        self._shim = shim

    def let_go(self) -> None:
        """Have the shim end the command and all its descendants."""
        if self._shim.stdin:
            self._shim.stdin.close()


def command(
    effect: Effect, launch: Launch, workspace: Path, output: Path, seconds: float | None
) -> Command:
    """Return the command of a launch in a workspace: without a limit in time it is an instance.

    Errors: CannotStartError.
    """
    home = workspace / "files"
    if not home.is_dir():
        message = f"the workspace {launch.workspace} was not prepared"
        raise CannotStartError(message)
    if not launch.argv:
        message = "there is no command"
        raise CannotStartError(message)
    values = {**launch.values, "workspace": str(home)}
    path = launch.path or DEFAULT_PATH
    name, *arguments = (fill(argument, values) for argument in launch.argv)
    return Command(
        argv=(_program(name, path), *arguments),
        cwd=str(home),
        env={
            "PATH": os.pathsep.join(path),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(workspace / "tmp"),
            **launch.env,
            "SHIPSLOG_EFFECT_KEY": str(effect.key),
            "SHIPSLOG_ATTEMPT": str(effect.key.attempt),
            "SHIPSLOG_FENCE": str(effect.fence),
        },
        secrets=launch.secrets,
        output=str(output),
        newest=seconds is None,
        seconds=seconds,
    )


class Shims:
    """Starts commands; each shim keeps a file open as long as its command's tree lives.

    What a shim leaves that is killed falls to this process, which ends it: from now on orphans
    below it are its children, and it must have no others than shims.
    """

    def __init__(self, held: int) -> None:
        self._held = held
        self._alive: set[int] = set()
        self._spawning = asyncio.Lock()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    async def start(self, command: Command) -> Child:
        """Start a command; CannotStartError where that fails."""
        shim = await self._spawn()
        if not shim.stdin or not shim.stdout:
            raise CannotStartError
        shim.stdin.write(msgspec.json.encode(command) + b"\n")
        line = await shim.stdout.readline()
        told = msgspec.json.decode(line, type=_Told) if line else _Told(error="its shim was killed")
        if told.error is not None:
            shim.stdin.close()
            await self._gone(shim, was_killed=not line)
            raise CannotStartError(told.error)
        return Child(shim, told.pid, self._end_of(shim))

    async def _spawn(self) -> asyncio.subprocess.Process:
        async with self._spawning:
            shim = await asyncio.create_subprocess_exec(
                *_SHIM,
                stdin=_PIPE,
                stdout=_PIPE,
                env={},
                start_new_session=True,
                pass_fds=(self._held,),
            )
            self._alive.add(shim.pid)
        return shim

    async def _end_of(self, shim: asyncio.subprocess.Process) -> Report | None:
        line = await shim.stdout.readline() if shim.stdout else b""
        await self._gone(shim, was_killed=not line)
        return msgspec.json.decode(line, type=Report) if line else None

    async def _gone(self, shim: asyncio.subprocess.Process, *, was_killed: bool) -> None:
        """Wait for a shim, and see to it that nothing of its command is left."""
        await shim.wait()
        self._alive.discard(shim.pid)
        if not was_killed:
            return
        hopeless = time.monotonic() + HOPELESS
        orphans: set[int] = set()
        # A shim that is just being started is no orphan, and not known yet either.
        async with self._spawning:
            while (left := descendants(self._alive)) and time.monotonic() < hopeless:
                orphans.update(left)
                send(left, signal.SIGKILL)
                await asyncio.sleep(TICK)
        _bury(orphans)


def _bury(orphans: set[int]) -> None:
    for pid in orphans:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _program(name: str, path: Sequence[str]) -> str:
    if name.startswith("/"):
        return name
    if "/" in name:
        message = f"{name} is a relative path"
        raise CannotStartError(message)
    for folder in path:
        candidate = Path(folder, name)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    message = f"{name} is not found in {os.pathsep.join(path)}"
    raise CannotStartError(message)
