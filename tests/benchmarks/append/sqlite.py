"""How fast commands are stored durably, beside the eventsourcing library as it is shipped.

`--quick` for a look. Every command writes one event and is answered for itself; rounds are
interleaved, medians shown.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef, Event, sha256_hex

from ..figures import Goal, told

QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
EVENTS_OF_A_STREAM = 20
THREADS = 16
BODY = sha256_hex(b"body")

_numbers = count(1)


class Tried(Event, frozen=True):
    """A stage was tried."""

    TOPIC: ClassVar[str] = "benchmark.tried"
    stage: str
    attempt: int


class Deployment(Aggregate):
    """The library's way to say the same."""

    class Tried(Aggregate.Event):
        """A stage was tried."""

        stage: str
        attempt: int

        def apply(self, aggregate: Aggregate) -> None:
            """Change nothing."""


GOALS = (Goal("128 at once", "library, 16 threads", 12),)


def main() -> None:
    """Print commands per second of each way, and its ratio to the library."""
    ways: dict[str, Callable[[], float]] = {
        "library, one by one": lambda: library(1, 1000),
        f"library, {THREADS} threads": lambda: library(THREADS, 100),
        "1 at a time": lambda: ours(1, 1000),
        "16 at once": lambda: ours(16, 200),
        "128 at once": lambda: ours(128, 100),
    }
    seen: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, measure in ways.items():
            seen[way].append(measure())
    told(seen, "commands/s", GOALS)


def library(clients: int, commands: int) -> float:
    """Return the library's commands per second, its SQLite recorder and `save` as shipped."""
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "library.db")
        module = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": database}
        application = Application[UUID](env=module)

        def client(_: int) -> None:
            for _ in range(commands // EVENTS_OF_A_STREAM):
                aggregate = Deployment()
                application.save(aggregate)
                for n in range(1, EVENTS_OF_A_STREAM):
                    aggregate.trigger_event(Deployment.Tried, stage="deploy.switch", attempt=n)
                    application.save(aggregate)

        with ThreadPoolExecutor(clients) as pool:
            started = time.perf_counter()
            list(pool.map(client, range(clients)))
            seconds = time.perf_counter() - started
        application.close()
    return clients * commands / seconds


def ours(clients: int, commands: int) -> float:
    """Return our commands per second, on one event loop."""
    return asyncio.run(_ours(clients, commands))


async def _ours(clients: int, commands: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore.open(Path(folder))

        async def client() -> None:
            for _ in range(commands // EVENTS_OF_A_STREAM):
                stream = f"deployment:0190f6b4-5a2e-7c1d-9e0f-{next(_numbers):012}"
                for version in range(1, EVENTS_OF_A_STREAM + 1):
                    await store.log.append(_append(stream, version))

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - started
        store.close()
    return clients * commands / seconds


def _append(stream: str, version: int) -> Append:
    command = CommandRef(sha256_hex(f"{stream}@{version}".encode()), BODY)
    draft = Draft(
        stream=stream,
        version=version,
        event=Tried(stage="deploy.switch", attempt=version),
        occurred_at=datetime.now(UTC),
        actor="sub_0123456789abcdef01234567",
        command=command,
        environment="staging",
        service="web",
        deployment=stream.partition(":")[2],
        correlation=stream.partition(":")[2],
    )
    return Append(drafts=(draft,), commands=(command,))


if __name__ == "__main__":
    main()
