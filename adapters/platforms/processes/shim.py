"""The shim: keeps one command, records what it prints, and ends its whole process tree in time.

The agent runs this file on its own, as `python -I -S shim.py`, so it knows the standard library
only. Standard input brings the spec as one JSON line and then stays open: when it ends, because
the agent closed it or died, the command is ended. Standard output tells the agent what happened,
one JSON line each: `{"pid": …}` or `{"error": …}`, at last `{"exit": …}`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterable
from types import FrameType
from typing import Any, BinaryIO

PIECE = 64 * 1024
TICK = 0.02
"""Seconds between two looks at a process tree that is being ended."""
HOPELESS = 10.0
"""Seconds after which a process that survives SIGKILL (in the kernel, or not ours) is left."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Carry out the spec on standard input."""
    spec = json.loads(_first_line(0))
    redactor = Redactor([secret.encode() for secret in spec["secrets"]])
    output = (NewestBytes if spec["newest"] else FirstBytes)(spec["output"], spec["limit"])
    shim = Shim(redactor, output)
    try:
        pid = shim.start(spec["argv"], spec["cwd"], spec["env"])
    except (OSError, ValueError) as error:
        _tell(error=redactor.whole(_reason(error)))
        return
    _tell(pid=pid)
    try:
        shim.watch(spec["seconds"])
    finally:
        shim.end_tree(spec["grace"])
    _tell(**shim.finish())


class Shim:
    """One command, its descendants and its output."""

    def __init__(self, redactor: Redactor, output: FirstBytes | NewestBytes) -> None:
        self._redactor = redactor
        self._output = output
        self._selector = selectors.DefaultSelector()
        self._process: subprocess.Popen[bytes] | None = None
        self._let_go = False
        self._timed_out = False

    def start(self, argv: list[str], cwd: str, env: dict[str, str]) -> int:
        """Start the command in its own session and return its process id.

        Errors: OSError, ValueError where it cannot be started.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._listen_to_signals()
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
            # There is one thread only, so the fork may run Python.
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
        )
        os.close(writing)
        self._listen(reading, self._record)
        self._listen(0, self._agent_has_gone)
        return self._process.pid

    def watch(self, seconds: float | None) -> None:
        """Return when the command has ended, the agent lets go of it or its time is over."""
        end = None if seconds is None else time.monotonic() + seconds
        while self._exit_code() is None and not self._let_go:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                self._timed_out = True
                return
            self._step(left)

    def end_tree(self, grace: float) -> None:
        """End every descendant: by SIGTERM, after `grace` seconds by SIGKILL till none is left."""
        now = time.monotonic()
        asked: set[int] = set()
        while (left := descendants()) and time.monotonic() < now + grace:
            send([pid for pid in left if pid not in asked], signal.SIGTERM)
            asked.update(left)
            self._step(TICK)
        while (left := descendants()) and time.monotonic() < now + grace + HOPELESS:
            send(left, signal.SIGKILL)
            self._step(TICK)
        self._step(0)

    def finish(self) -> dict[str, Any]:
        """Make the output durable and return what is to be told of the end."""
        for key in list(self._selector.get_map().values()):
            if key.data == self._record:
                self._record(key.fd)
        self._output.write(self._redactor.rest())
        last = self._output.close()
        code = self._exit_code()
        return {
            "exit": code if code is not None and code >= 0 and not self._timed_out else None,
            "signal": -code if code is not None and code < 0 else None,
            "timed_out": self._timed_out,
            "truncated": self._output.truncated,
            "last": last.decode(errors="replace"),
        }

    def _listen_to_signals(self) -> None:
        waking, woken = os.pipe()
        os.set_blocking(woken, False)
        self._listen(waking, lambda fd: os.read(fd, PIECE))
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._told_to_end)

    def _listen(self, fd: int, callback: Callable[[int], object]) -> None:
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def _step(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            key.data(key.fd)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if self._process and ended[0] == self._process.pid:
                    self._process.returncode = os.waitstatus_to_exitcode(ended[1])

    def _exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    def _record(self, fd: int) -> None:
        """Take what the command has printed, at most what fits into a pipe."""
        with contextlib.suppress(BlockingIOError):
            if piece := os.read(fd, PIECE):
                self._output.write(self._redactor.pass_on(piece))
            else:
                self._selector.unregister(fd)

    def _told_to_end(self, _number: int, _frame: FrameType | None) -> None:
        self._agent_has_gone(0)

    def _agent_has_gone(self, fd: int) -> None:
        self._let_go = True
        if fd in self._selector.get_map():
            self._selector.unregister(fd)


class Redactor:
    """Takes secrets out of a stream, also where one stands across the border of two pieces."""

    MARK = b"***"

    def __init__(self, secrets: list[bytes]) -> None:
        longest_first = sorted(filter(None, secrets), key=len, reverse=True)
        self._secret = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
        self._held = len(longest_first[0]) - 1 if longest_first else 0
        self._tail = b""

    def pass_on(self, piece: bytes) -> bytes:
        """Return what can be told by now; what may be the start of a secret is held back."""
        text = self._tail + piece
        return self._up_to(text, max(len(text) - self._held, 0))

    def rest(self) -> bytes:
        """Return what is still held back, at the end of the stream."""
        return self._up_to(self._tail, len(self._tail))

    def whole(self, text: str) -> str:
        """Return a text that stands for itself."""
        return self._secret.sub(self.MARK, text.encode(errors="replace")).decode(errors="replace")

    def _up_to(self, text: bytes, end: int) -> bytes:
        told: list[bytes] = []
        at = 0
        for match in self._secret.finditer(text):
            if match.start() >= end:
                break
            told += text[at : match.start()], self.MARK
            at = match.end()
        end = max(at, end)
        self._tail = text[end:]
        return b"".join((*told, text[at:end]))


class FirstBytes:
    """A file of the first bytes of a stream; the rest is dropped."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = _new_file(path)
        self._left = limit
        self._last = b""
        self.truncated = False

    def write(self, piece: bytes) -> None:
        """Keep of the piece what there is room for."""
        self._last = (self._last + piece)[-_LAST:]
        kept = _append(self._file, piece[: self._left])
        self._left -= kept
        self.truncated = self.truncated or kept < len(piece)

    def close(self) -> bytes:
        """Make the file durable and return the stream's last line."""
        try:
            os.fsync(self._file.fileno())
        except OSError:
            self.truncated = True
        self._file.close()
        return _last_line(self._last)


class NewestBytes:
    """A file of the newest bytes of a stream, beside it `….1` with those before."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._half = limit // 2
        self._file = _new_file(path)
        self._last = b""
        self.truncated = False

    def write(self, piece: bytes) -> None:
        """Append the piece; a file that is full moves aside, over the one before it."""
        self._last = (self._last + piece)[-_LAST:]
        if self._file.tell() + len(piece) > self._half:
            self._file.close()
            os.replace(self._path, self._path + ".1")  # noqa: PTH105  pathlib is slow to import
            self._file = _new_file(self._path)
            self.truncated = True
        self.truncated = _append(self._file, piece) < len(piece) or self.truncated

    def close(self) -> bytes:
        """Close the file and return the stream's last line."""
        self._file.close()
        return _last_line(self._last)


def descendants(but: Container[int] = ()) -> list[int]:
    """Return the ids of all living processes below this one, parents first; zombies do not live.

    Children that are in `but` are left out, with all that is below them.
    """
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError):
            state, parent = _read(f"/proc/{name}/stat").rpartition(b") ")[2].split()[:2]
            if state not in (b"Z", b"X"):
                children.setdefault(int(parent), []).append(int(name))
    found = [pid for pid in children.get(os.getpid(), []) if pid not in but]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, some of which may be gone or not ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """Nothing: that there is a handler makes the signal write to the wake-up pipe."""


_LAST = 512


def _last_line(text: bytes) -> bytes:
    return text.rstrip().rpartition(b"\n")[2]


def _append(file: BinaryIO, piece: bytes) -> int:
    """Write what there is room for on the disk; a full one must not end the command."""
    try:
        return file.write(piece)
    except OSError:
        return 0


def _new_file(path: str) -> BinaryIO:
    return open(path, "wb", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))


def _reason(error: OSError | ValueError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def _first_line(fd: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not (piece := os.read(fd, PIECE)):
            raise SystemExit(1)
        line += piece
    return line


def _tell(**facts: Any) -> None:
    # Not through `sys.stdout`, which would complain at exit that the agent has gone.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main()
