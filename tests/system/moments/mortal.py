"""The command line, which kills itself at the n-th boundary that it passes; 0: at none.

`mortal.py N FILE VERB…`: boundaries are all places where what was before is durable or done, and
what comes after is not. Each one passed is a line of FILE.
"""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.engine import RootTransaction

from shipslog.adapters.platforms.processes.platform import ProcessesPlatform
from shipslog.adapters.store.postgres.channel import Channel
from shipslog.adapters.store.postgres.writer import Writer as PostgresWriter
from shipslog.adapters.store.sqlite.writer import Writer
from shipslog.api.cli import run
from shipslog.domain.ledger import Door

ON_ITS_WAY_SECONDS = 0.004
"""After which a call has most likely come to the agent, and its answer not yet to us."""

_passed = itertools.count(1)


def boundary(name: str) -> None:
    """Pass a boundary, or end there."""
    file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name}\n".encode())
    os.close(file)
    if next(_passed) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)


def around(kind: type, verb: str, *names: str) -> None:
    """Put a boundary before a method, where it has two names, and one after it."""
    whole: Callable[..., Any] = getattr(kind, verb)

    def bounded(*arguments: Any, **named: Any) -> object:
        for name in names[:-1]:
            boundary(name)
        result: object = whole(*arguments, **named)
        boundary(names[-1])
        return result

    setattr(kind, verb, bounded)


def around_await(kind: type, verb: str, before: str | None, after: str) -> None:
    """Put boundaries before an awaited method, on its way and after it."""
    whole: Callable[..., Awaitable[Any]] = getattr(kind, verb)

    async def bounded(*arguments: Any, **named: Any) -> object:
        if before is None:
            result = await whole(*arguments, **named)
        else:
            boundary(f"{before} {arguments[1]}")
            under_way = asyncio.ensure_future(whole(*arguments, **named))
            try:
                await asyncio.wait([under_way], timeout=ON_ITS_WAY_SECONDS)
                boundary(f"on its way {arguments[1]}")
                result = await under_way
            finally:
                under_way.cancel()
        boundary(after)
        return result

    setattr(kind, verb, bounded)


if __name__ == "__main__":
    if "SHIPSLOG_DATABASE_URL" in os.environ:
        around(Channel, "append", "append", "sent, not answered")
        around(PostgresWriter, "_take_answer", "stored, not known", "stored")
    else:
        around(Writer, "_commit", "append", "committed")
        around(Writer, "_perform", "written, not committed")
    around(RootTransaction, "commit", "views moved, not committed", "views committed")
    around_await(ProcessesPlatform, "_call", "effect", "effect answered")
    around_await(Door, "carry_out", None, "acknowledged, not told")
    sys.exit(run(sys.argv[3:]))
