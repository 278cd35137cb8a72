"""The nursery: learns a build once, then brings up a process of it for each line that it is told.

`nursery.py`, with the build's folder in PYTHONPATH where it is not the installed one. A process is
a fork with a session and an environment of its own; it costs a tenth of one that learns everything
anew. Said are the pid of each that is born, and the exit code of each that is gone.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any

import shipslog.adapters.store.postgres.store
import shipslog.api.assembly.processes
import shipslog.projections.follower.postgres.migrations
from shipslog.api.cli import run

LOOK_SECONDS = 0.02
LEARNED = (
    shipslog.adapters.store.postgres.store,
    shipslog.api.assembly.processes,
    shipslog.projections.follower.postgres.migrations,
)


def main() -> None:
    """Bring up processes until nobody is there to ask for one; who is left then is killed."""
    living: set[int] = set()
    say("ready", 0)
    while True:
        heard, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if heard:
            line = sys.stdin.readline()
            if not line:
                break
            pid = os.fork()
            if not pid:
                live(json.loads(line))
            living.add(pid)
            say("born", pid)
        bury(living)
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def live(told: dict[str, Any]) -> None:
    """Be a process of the command line, whatever comes of it."""
    code = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(told["environment"])
        for fd, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, told["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (2, told["err"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ):
            os.dup2(os.open(path, flags, 0o600), fd)
        if told["mark"]:
            sys.path.insert(0, told["marks"])
            __import__("marked").put(**told["mark"])
        code = run(told["verb"])
        sys.stdout.flush()
    finally:
        os._exit(code)


def bury(living: set[int]) -> None:
    """Tell of those that are gone."""
    for pid in [*living]:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            living.remove(pid)
            say("gone", pid, os.waitstatus_to_exitcode(status))


def say(*words: object) -> None:
    """Say a line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
