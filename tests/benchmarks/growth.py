"""What grows with the log: append, log page and one stream at 10^4 and 10^6 events; `--quick`.

Both sizes are there at once, each in a database of its own, and are asked in turn. The status is
part of `read_models`.
"""

import asyncio
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import psycopg

sys.path.insert(0, str(Path(__file__).parents[2]))

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.event import Recorded, decode
from tests.benchmarks.append.appenders import STATE, StageFinished, drafts
from tests.benchmarks.figures import Goal, told
from tests.databases import fresh_ledger, make_template, running_server

QUICK = "--quick" in sys.argv
SMALL, LARGE = (1_000, 100_000) if QUICK else (10_000, 1_000_000)
ROUNDS, TIMES = (3, 60) if QUICK else (5, 400)
LENGTH, PAGE, GROUP = 50, 500, 8
GOALS = tuple(
    Goal(f"{what} at {LARGE:,}", f"{what} at {SMALL:,}", most, most=True)
    for what, most in (("append", 1.25), ("log page", 1.15), ("one stream", 2))
)
COPY = """
COPY shipslog.{} FROM STDIN (FORMAT BINARY)
"""
EVENT = ["int8", "text", "int8", "text", "timestamptz", "bytea"]
COMMAND = ["bytea", "bytea", "int8", "int8"]


async def main() -> None:
    """Print the median microseconds of each, and how they grow."""
    micros: dict[str, list[float]] = defaultdict(list)
    with running_server(shared_buffers="1GB") as server:
        make_template(server)
        with fresh_ledger(server) as few, fresh_ledger(server) as many:
            streams = {SMALL: fill(few, SMALL), LARGE: fill(many, LARGE)}
            terms = Terms(Release.AFTER_FLUSH)
            stores = {
                SMALL: await PostgresStore.open(few, terms=terms),
                LARGE: await PostgresStore.open(many, terms=terms),
            }
            for _ in range(ROUNDS):
                for size, store in stores.items():
                    await measure(store, size, streams[size], micros)
            for store in stores.values():
                await store.close()
    told(micros, "us", GOALS)


async def measure(
    store: PostgresStore, size: int, streams: list[str], micros: dict[str, list[float]]
) -> None:
    """Ask one store everything, many times."""
    fresh = (f"deployment:{uuid.uuid4()}" for _ in count())
    at = count()

    def append() -> Awaitable[object]:
        return store.log.append(drafts(next(fresh), 1, 1))

    def page() -> Awaitable[list[Recorded]]:
        after = size * (next(at) * 37 % 97) // 100
        return store.log.page(after=after, limit=PAGE)  # type: ignore[return-value]

    def stream() -> Awaitable[list[Recorded]]:
        name = streams[next(at) * 7919 % len(streams)]
        return store.log.stream(name)  # type: ignore[return-value]

    for what, ask in (("append", append), ("log page", page), ("one stream", stream)):
        micros[f"{what} at {size:,}"].append(await timed(ask))


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    """Return the median microseconds of one question."""
    taken: list[float] = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1e6


def fill(url: str, size: int) -> list[str]:
    """Write so many events in streams of 50, eight of them growing at once; return the streams."""
    now, state = datetime.now(UTC), example()
    streams = [f"deployment:{uuid.uuid4()}" for _ in range(size // LENGTH)]
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy(COPY.format("stored_events").encode()) as copying:
            copying.set_types(EVENT)
            for position, (stream, version) in enumerate(told_in_turn(streams), 1):
                row = (position, stream, version, StageFinished.TOPIC, now, state)
                copying.write_row(row)
        with cursor.copy(COPY.format("commands").encode()) as copying:
            copying.set_types(COMMAND)
            for position in range(1, size + 1):
                id_ = uuid.uuid4().bytes + uuid.uuid4().bytes
                copying.write_row((id_, b"\0" * 32, position, position))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE shipslog.stored_events, shipslog.commands")
    return streams


def told_in_turn(streams: list[str]) -> list[tuple[str, int]]:
    """Return (stream, version) in the order of the log."""
    return [
        (stream, version)
        for first in range(0, len(streams), GROUP)
        for version in range(1, LENGTH + 1)
        for stream in streams[first : first + GROUP]
    ]


def example() -> bytes:
    """Return the two lines of an event, as long as most are."""
    header = (
        b'{"stream":"deployment:x","stream_version":1,"topic":"benchmark.stage_finished",'
        b'"event_version":1,"occurred_at":"2026-11-23T12:00:00Z","recorded_at":'
        b'"2026-11-23T12:00:00Z","actor":"sub_0123456789abcdef","environment":"production",'
        b'"service":"web","deployment":null,"causation":null,"correlation":null,"command":'
        b'{"id":"0","sha256":"0"},"fence":null,"payload_sha256":"0"}'
    )
    state = header + b"\n" + STATE[: len(STATE) - len(header)]
    assert decode(1, state)
    return state


if __name__ == "__main__":
    asyncio.run(main())
