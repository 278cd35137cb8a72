"""How client and agent talk: a unix socket, a connection for each call, one JSON line each way.

The verbs are the port's own: what a call carries and what comes back is read from the type hints
of `Platform`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import GenericAlias
from typing import Any, get_type_hints

import msgspec

from ....domain import errors
from ....domain.errors import LedgerError, PlatformUnavailableError
from ....domain.ports import Platform

PROTOCOL = 2
MAX_LINE_BYTES = 16 * 1024 * 1024
BACKLOG = 1024
SHUTDOWN = "shutdown"
"""A verb beside the port's: end all children, the router and the agent."""
ACCEPT = "accept"
"""Another: from now on refuse whoever's log was accepted less often than the caller's."""

_LONGEST_SOCKET_PATH = 107
"""What the kernel takes."""

_log = logging.getLogger("shipslog.agent")

Perform = Callable[[str, Sequence[Any], int], Awaitable[object]]
"""Carries out a verb with its arguments, for somebody whose log was so often accepted."""


class Request(msgspec.Struct, frozen=True):
    """A call as sent."""

    protocol: int
    verb: str
    arguments: msgspec.Raw
    accepted: int = 0
    """How often the log of who calls had been accepted when that began."""


class Failure(msgspec.Struct, frozen=True):
    """A `LedgerError` as sent."""

    kind: str
    message: str
    context: dict[str, str]


class Answer(msgspec.Struct, frozen=True):
    """What came of a call."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


def socket_path(data: Path) -> Path:
    """Return where the agent of a data folder listens: a short path in a folder of ours alone.

    Errors: PlatformUnavailableError where that folder is somebody else's.
    """
    name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16] + ".sock"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", "shipslog")
    short = len(str(runtime / name)) <= _LONGEST_SOCKET_PATH
    is_usable = short and runtime.parent.is_dir()
    folder = runtime if is_usable else Path(f"/tmp/shipslog-{os.getuid()}")  # noqa: S108  see _own
    _own(folder)
    return folder / name


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(path: Path) -> Connection | None:
    """Return a connection to the agent at a socket, or None where nobody listens."""
    try:
        return await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


async def call(
    connection: Connection, verb: str, arguments: Sequence[object], accepted: int = 0
) -> Any:  # noqa: ANN401  the port's hints say which
    """Have the agent carry out a verb, return what comes back and close the connection.

    Errors: those of the verb; PlatformUnavailableError where the agent does not answer.
    """
    reader, writer = connection
    content = msgspec.Raw(msgspec.json.encode(arguments))
    request = Request(PROTOCOL, verb, content, accepted)
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        line = await reader.readline()
    except OSError as error:
        raise PlatformUnavailableError(detail=f"its agent: {error}") from error
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise PlatformUnavailableError(detail="its agent ended during the call")
    answer = msgspec.json.decode(line, type=Answer)
    if answer.failure:
        raise _error(answer.failure)
    return msgspec.json.decode(answer.result, type=_VERBS[verb][1])


class Server:
    """Answers calls on a socket; a call goes on when its client leaves."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform
        self._calls: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Take calls from now on, in the place of whoever listened here before."""
        self._server = await asyncio.start_unix_server(
            self._take, sock=_bound(path), limit=MAX_LINE_BYTES, backlog=BACKLOG
        )

    def deafen(self) -> None:
        """Take no further call."""
        if self._server:
            self._server.close()

    async def finish(self, seconds: float) -> None:
        """Give the calls under way a moment to be answered."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):
                writer.write(msgspec.json.encode(await _answer(line, self._perform)) + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:
            _log.warning("a client left, or sent too much: %s", error)
        finally:
            writer.close()


async def _answer(line: bytes, perform: Perform) -> Answer:
    try:
        request = msgspec.json.decode(line, type=Request)
        if request.protocol != PROTOCOL or request.verb not in _VERBS:
            detail = f"its agent speaks version {PROTOCOL}, we {request.protocol}; stop it first"
            raise PlatformUnavailableError(detail=detail)
        arguments = msgspec.json.decode(request.arguments, type=_VERBS[request.verb][0])
        result = await perform(request.verb, arguments, request.accepted)
        return Answer(result=msgspec.Raw(msgspec.json.encode(result)))
    except LedgerError as error:
        return _failure(error)
    except (OSError, msgspec.MsgspecError) as error:
        return _failure(PlatformUnavailableError(detail=str(error)))


def _failure(error: LedgerError) -> Answer:
    context = {name: str(value) for name, value in error.context.items()}
    return Answer(failure=Failure(type(error).__name__, str(error), context))


def _error(failure: Failure) -> LedgerError:
    kind = getattr(errors, failure.kind, PlatformUnavailableError)
    error: LedgerError = kind(failure.message, **failure.context)
    return error


def _verbs() -> dict[str, tuple[Any, Any]]:
    """Return each verb's arguments, as a tuple type, and its result type."""
    verbs: dict[str, tuple[Any, Any]] = dict.fromkeys((SHUTDOWN, ACCEPT), (tuple[()], None))
    for name, verb in vars(Platform).items():
        if callable(verb) and not name.startswith("_"):
            hints = get_type_hints(verb)
            result = hints.pop("return")
            verbs[name] = GenericAlias(tuple, tuple(hints.values())), result
    return verbs


_VERBS = _verbs()


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(previous)
    return listening


def _own(folder: Path) -> None:
    """Make the folder ours alone; under /tmp anybody may have made one of this name before."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    if found.st_uid != os.getuid() or not is_private:
        raise PlatformUnavailableError(detail=f"{folder} is not a folder of ours alone")
