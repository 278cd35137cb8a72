"""How fast commands are stored durably, beside the eventsourcing library as it is shipped.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.append_sqlite [ROUNDS]`.
Every command writes one event and is answered for itself; rounds are interleaved, medians shown.
"""

import asyncio
import statistics
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

ROUNDS = 5
EVENTS_OF_A_STREAM = 20
THREADS = 16
GOAL = 12
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


def main(rounds: int) -> None:
    """Print commands per second of each way, and its ratio to the library with threads."""
    ways: dict[str, Callable[[], float]] = {
        "library, one by one": lambda: library(1, 1000),
        f"library, {THREADS} threads": lambda: library(THREADS, 100),
        "shipslog, 1 at a time": lambda: ours(1, 1000),
        "shipslog, 16 at once": lambda: ours(16, 200),
        "shipslog, 128 at once": lambda: ours(128, 100),
    }
    seen: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, measure in ways.items():
            seen[way].append(measure())
    speeds = {way: statistics.median(each) for way, each in seen.items()}
    one_by_one, threads = list(speeds.values())[:2]
    print(f"{'commands/s':<24}{'':>10}{'to one by one':>16}{'to threads':>13}")
    for way, speed in speeds.items():
        print(f"{way:<24}{speed:>10,.0f}{speed / one_by_one:>15.2f}x{speed / threads:>12.2f}x")
    print(f"goal: 128 at once at {GOAL}x the library")


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
    main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
