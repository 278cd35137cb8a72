"""The agent's process: one for each data folder, detached from its starter, ended as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ... import turns
from . import control, durable
from .agent import Agent
from .fences import ACCEPTED

SOCKET = "socket"
"""The file that says where the agent listens."""
LAST_ANSWERS = 1.0
"""Seconds in which calls under way are answered, at the end."""
LOG_BYTES = 1024 * 1024
LOCK_WITHIN = 14.0
"""Seconds in which an agent that is ending, or the children of a dead one, may still hold on.

A command of the one must not meet its next try under the other.
"""
LOOK_AFTER = 2.0
"""Seconds between two looks whether the data folder is still there."""
OPEN_FILES = 65_536

ANOTHER_LIVES = 5
"""The exit code where another agent has the folder: a conflict."""

Tell = Callable[[int], None]

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_log = logging.getLogger("shipslog.agent")


def main(data: Path, *, detach: bool = False) -> int:
    """Be the agent of a data folder until it is told to stop; return 0, or 5 where there is one.

    With `detach` the caller's process ends as soon as the agent answers, with the same codes.
    """
    folder = data.resolve() / "agent"
    durable.make_folder(folder)
    tell = _detach(folder / "agent.log") if detach else _tell_nobody
    with locked(folder) as lock:
        if lock is None:
            tell(ANOTHER_LIVES)
            return ANOTHER_LIVES
        logging.basicConfig(handlers=[_BoundedLog()], level=logging.INFO, format=_LOG_FORMAT)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, OPEN_FILES), most))
        turns.run(_live(folder, data, lock, tell))
    return 0


async def _live(folder: Path, data: Path, lock: BinaryIO, tell: Tell) -> None:
    agent = Agent(folder, data, lock.fileno())
    stopping, stopped = asyncio.Event(), asyncio.Event()

    async def perform(verb: str, arguments: Sequence[Any], accepted: int) -> object:
        # Each call is a task, and this is its own.
        ACCEPTED.set(accepted)
        if verb == control.SHUTDOWN:
            stopping.set()
            await stopped.wait()
            return None
        return await getattr(agent, verb)(*arguments)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = control.Server(perform)
    path = control.socket_path(data)
    await server.listen(path)
    bound = path.stat()
    durable.replace(folder / SOCKET, str(path).encode())
    tell(0)
    _log.info("ready, process %d", os.getpid())
    locked = os.fstat(lock.fileno())
    # A folder that is gone needs no agent, and one that was made anew has another.
    while not stopping.is_set() and _is_same(locked, folder / "lock"):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOOK_AFTER)
    _log.info("stopping")
    server.deafen()
    await agent.close()
    stopped.set()
    await server.finish(LAST_ANSWERS)
    if _is_same(bound, path):
        path.unlink()


def _detach(log: Path) -> Tell:
    """Go on in a child that belongs to nobody; return how it tells with which code we end."""
    waiting, telling = os.pipe()
    if os.fork():
        os.close(telling)
        os._exit(int.from_bytes(os.read(waiting, 1) or b"\2"))
    os.close(waiting)
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, to in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, to)

    def tell(code: int) -> None:
        os.write(telling, bytes((code,)))
        os.close(telling)

    return tell


def _tell_nobody(code: int) -> None:
    """Nobody waits."""


@contextlib.contextmanager
def locked(folder: Path) -> Generator[BinaryIO | None]:
    """Hold the lock, with our process id in it; None while another agent lives."""
    with (folder / "lock").open("ab") as lock:
        end = time.monotonic() + LOCK_WITHIN
        while not (taken := _is_taken(lock)) and time.monotonic() < end:
            if _answers(folder / SOCKET):
                break
            time.sleep(0.02)
        if taken:
            lock.truncate(0)
            lock.write(b"%d" % os.getpid())
            lock.flush()
        yield lock if taken else None


def _is_taken(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(file: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(file.read_text())
        return True
    return False


def _is_same(was: os.stat_result, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(was, path.stat())
    return False


class _BoundedLog(logging.StreamHandler[TextIO]):
    """Standard error; where that is a file, it begins anew when it is full."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        stream = self.stream.fileno()
        if os.fstat(stream).st_size > LOG_BYTES:
            os.ftruncate(stream, 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), detach=True))
