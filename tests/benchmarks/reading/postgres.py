"""Reading from PostgreSQL: one deployment of 50 events, and the whole log; `--quick` for a look.

Beside what a bare select gives, and beside the library's own repository and log, as shipped. The
library's log has the same events, each without our header. Whoever is timed is connected already.
"""

import asyncio
import subprocess
import sys
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from eventsourcing.application import Application

sys.path.insert(0, str(Path(__file__).parents[3]))

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from tests.benchmarks.append.appenders import Deployment, application, drafts
from tests.benchmarks.figures import Goal, told
from tests.benchmarks.generated_log import rows
from tests.benchmarks.reading import library
from tests.databases import fresh_ledger, make_template, running_server

ROOT = Path(__file__).parents[3]
QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
EVENTS = 50_000 if QUICK else 200_000
LOADS = 100 if QUICK else 500
STREAMS, LENGTH = 20, 50
GOALS = (
    Goal("replay of 50", "select of 50", 0.55),
    Goal("replay of 50", "library, get of 50", 4),
    Goal("log to objects", "log, not decoded", 0.50),
    Goal("log to objects", "library, log to objects", 4),
    Goal("log, two processes", "log, one process", 1.7),
)
COPY = """
COPY shipslog.stored_events
    (position, originator_id, originator_version, topic, recorded_at, state)
FROM STDIN (FORMAT BINARY)
"""
TYPES = ["int8", "text", "int8", "text", "timestamptz", "bytea"]
STREAM = """
SELECT position, state FROM shipslog.stored_events
WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version
"""
SCAN = """
SELECT position, state FROM shipslog.stored_events
WHERE position > %s ORDER BY position LIMIT %s
"""
Rates = dict[str, list[float]]


def main() -> None:
    """Print how much is read in a second, and the ratios."""
    rates: Rates = defaultdict(list)
    with running_server(shared_buffers="512MB") as server:
        make_template(server)
        with fresh_ledger(server) as url:
            write_log(url)
            streams = asyncio.run(with_streams(url))
            app = application(url)
            ids = [librarys(app, LENGTH) for _ in range(STREAMS)]
            library.write(app, rows(EVENTS))
            print(f"an event of the library has {library.bytes_an_event(app):.0f} bytes")
            for _ in range(ROUNDS):
                one_stream(url, streams, rates)
                rates["library, get of 50"].append(
                    per_second(LOADS, lambda n: app.repository.get(ids[n % STREAMS]))
                )
                whole_log(url, app, rates)
            app.close()
    told(rates, "/s", GOALS)


def write_log(url: str) -> None:
    """Write a log that deployments have written."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy(COPY) as copying:
            copying.set_types(TYPES)
            now = datetime.now(UTC)
            for position, stream, version, topic, state in rows(EVENTS):
                copying.write_row((position, stream, version, topic, now, state))
        cursor.execute("ANALYZE shipslog.stored_events")


async def with_streams(url: str) -> list[str]:
    """Write some streams of 50 events and return them."""
    store = await PostgresStore.open(url, terms=Terms(Release.AFTER_FLUSH))
    streams = [f"deployment:{uuid.uuid4()}" for _ in range(STREAMS)]
    for version in range(1, LENGTH + 1):
        await asyncio.gather(*(store.log.append(drafts(one, version, 1)) for one in streams))
    await store.close()
    return streams


def librarys(app: Application[uuid.UUID], length: int) -> uuid.UUID:
    """Write one of the library's aggregates."""
    deployment = Deployment()
    for _ in range(length - 1):
        deployment.finish()
    app.save(deployment)
    return deployment.id


def one_stream(url: str, streams: list[str], rates: Rates) -> None:
    """Load one stream after the other, bare and as ours."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:

        def select(number: int) -> None:
            stream = streams[number % STREAMS]
            connection.execute(STREAM, (stream, 0), binary=True).fetchall()

        rates["select of 50"].append(per_second(LOADS, select))
    rates["replay of 50"].append(asyncio.run(replayed(url, streams)))


async def replayed(url: str, streams: list[str]) -> float:
    """Return how many streams a second are read, decoded and looked at."""
    store = await PostgresStore.open(url, terms=Terms(Release.AFTER_FLUSH))
    await store.log.head()
    for stream in streams:
        await store.log.stream(stream)
    began = time.perf_counter()
    for number in range(LOADS):
        for recorded in await store.log.stream(streams[number % STREAMS]):
            assert recorded.event
    taken = time.perf_counter() - began
    await store.close()
    return LOADS / taken


def whole_log(url: str, app: Application[uuid.UUID], rates: Rates) -> None:
    """Read everything, bare, as ours, in two processes, and as the library."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(SCAN, (0, 1), binary=True)
        rates["log, not decoded"].append(over(bare(connection)))
    rates["log to objects"].append(ours(url))
    rates["log, one process"].append(scanning(url, (0, EVENTS)))
    rates["log, two processes"].append(scanning(url, (0, EVENTS // 2), (EVENTS // 2, EVENTS)))
    rates["library, log to objects"].append(over(library.through(app)))


def ours(url: str) -> float:
    """Return how many of our events a second are read, headers decoded."""
    archive = asyncio.run(PostgresStore.read_only(url))
    over(archive.log.scan(upto=1))
    return over(archive.log.scan(upto=EVENTS))


def bare(connection: psycopg.Connection) -> Iterator[object]:
    """Yield rows as they come."""
    position = 0
    while found := connection.execute(SCAN, (position, library.PAGE), binary=True).fetchall():
        yield from found
        position = found[-1][0]


def scanning(url: str, *ranges: tuple[int, int]) -> float:
    """Return events a second of a process for each range, all at once."""
    program = [sys.executable, "-m", "tests.benchmarks.reading.ranges", url]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([*program, *map(str, one)], cwd=ROOT, text=True, stdin=pipe, stdout=pipe)
        for one in ranges
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    number = sum(int(process.stdout.readline()) for process in running if process.stdout)
    taken = time.perf_counter() - began
    for process in running:
        process.communicate()
    return number / taken


def over(events: Iterator[object]) -> float:
    """Return how many a second are yielded."""
    began = time.perf_counter()
    (number, _) = deque(enumerate(events, 1), maxlen=1).pop()
    return number / (time.perf_counter() - began)


def per_second(number: int, act: Callable[[int], object]) -> float:
    """Return how often a second something can be done."""
    began = time.perf_counter()
    for n in range(number):
        act(n)
    return number / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
