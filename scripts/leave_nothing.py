"""Runs a command, then ends every process that it left behind, and says so.

Usage: leave_nothing.py COMMAND [ARGUMENT...]. The exit code is the command's, or 1 where it
was 0 and something was left.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 2.0


def main(command: list[str]) -> int:
    """Run the command as the parent of all its orphans, however they detached themselves."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: child.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command by itself
    code = _reap_until(child.pid)
    left = _end_what_is_left()
    for pid, line in left.items():
        print(f"left behind and ended: {pid} {line}", file=sys.stderr)
    return code or bool(left)


def _reap_until(pid: int) -> int:
    """Orphans are reaped too, as init would: a test must see a process that ended as gone."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _end_what_is_left() -> dict[int, str]:
    left: dict[int, str] = {}
    deadline = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
            if time.monotonic() > deadline:
                left = _kill_children() | left
            time.sleep(0.02)
    return left


def _kill_children() -> dict[int, str]:
    me = os.getpid()
    pids = [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in pids}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return {pid: line.replace("\0", " ") for pid, line in lines.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
