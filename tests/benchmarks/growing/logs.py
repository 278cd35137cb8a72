"""The log on PostgreSQL at two sizes: an append, a page, a stream of 50."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from statistics import median

import psycopg

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.domain.event import Recorded, decode
from tests.benchmarks.append.appenders import STATE, StageFinished, drafts
from tests.databases import fresh_ledger

LENGTH, PAGE, GROUP = 50, 500, 8
COPY = """
COPY shipslog.{} FROM STDIN (FORMAT BINARY)
"""
EVENT = ["int8", "text", "int8", "text", "timestamptz", "bytea"]
COMMAND = ["bytea", "bytea", "int8", "int8"]


Rates = dict[str, list[float]]
Question = Callable[[], Awaitable[object]]


def ask(
    server: PostgresServer, sizes: Sequence[int], times: tuple[int, int], micros: Rates
) -> None:
    """Ask a log of each size in turn: so many rounds, in each everything so often."""
    with fresh_ledger(server) as few, fresh_ledger(server) as many:
        logs = dict(zip(sizes, (few, many), strict=True))
        asyncio.run(_ask(logs, times, micros))


async def _ask(logs: dict[int, str], times: tuple[int, int], micros: Rates) -> None:
    streams = {size: fill(url, size) for size, url in logs.items()}
    terms = Terms(Release.AFTER_FLUSH)
    stores = {size: await PostgresStore.open(url, terms=terms) for size, url in logs.items()}
    rounds, often = times
    asked = {size: questions(one, size, streams[size]) for size, one in stores.items()}
    for _ in range(rounds):
        for what in asked[min(asked)]:
            found = await timed({size: of[what] for size, of in asked.items()}, often)
            for size, taken in found.items():
                micros[f"{what} at {size:,}"].append(taken)
    for store in stores.values():
        await store.close()


def questions(store: PostgresStore, size: int, streams: list[str]) -> dict[str, Question]:
    """Return what is asked of a log, each time in another place."""
    at = count()

    def append() -> Awaitable[object]:
        return store.log.append(drafts(f"deployment:{uuid.uuid4()}", 1, 1))

    def page() -> Awaitable[Sequence[Recorded]]:
        return store.log.page(after=size * (next(at) * 37 % 97) // 100, limit=PAGE)

    def stream() -> Awaitable[Sequence[Recorded]]:
        return store.log.stream(streams[next(at) * 7919 % len(streams)])

    return {"append": append, "log page": page, "one stream": stream}


async def timed(asked: Mapping[int, Question], often: int) -> dict[int, float]:
    """Return the median microseconds of one question at each size, asked by turns."""
    taken = {size: list[float]() for size in asked}
    for _ in range(often):
        for size, ask in asked.items():
            began = time.perf_counter()
            await ask()
            taken[size].append(time.perf_counter() - began)
    return {size: median(some) * 1e6 for size, some in taken.items()}


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
