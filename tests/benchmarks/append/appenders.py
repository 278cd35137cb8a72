"""Everything that appends to PostgreSQL in the benchmark: ours, the limits, and the library."""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from psycopg.conninfo import conninfo_to_dict

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef, Event, sha256_hex

NOW = datetime.now(UTC)
STATE = b"x" * 600
"""As long as the two lines of an event here."""
TABLE = """
CREATE TABLE IF NOT EXISTS raw_events (
    position bigint PRIMARY KEY, originator_id text COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL, topic text NOT NULL, recorded_at timestamptz NOT NULL,
    state bytea NOT NULL, UNIQUE (originator_id, originator_version)
);
CREATE SEQUENCE IF NOT EXISTS raw_positions CACHE 1
"""
COPY = """
COPY raw_events (position, originator_id, originator_version, topic, recorded_at, state)
FROM STDIN (FORMAT BINARY)
"""
RAW = "INSERT INTO raw_events VALUES (nextval('raw_positions'), %s, %s, %s, %s, %b)"
TYPES = ["int8", "text", "int8", "text", "timestamptz", "bytea"]


class StageFinished(Event, frozen=True):
    TOPIC: ClassVar[str] = "benchmark.stage_finished"
    stage: str = "deploy.switch"
    attempt: int = 1
    outcome: str = "succeeded"
    message: str = "all of 4 instances answered within 12 ms"


class Deployment(Aggregate):
    """What the library stores: the same fields, as its users would write it."""

    class StageFinished(Aggregate.Event):
        stage: str
        attempt: int
        outcome: str
        message: str

    def finish(self) -> None:
        event = StageFinished()
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        self.trigger_event(self.StageFinished, **fields)


def drafts(stream: str, first: int, number: int) -> Append:
    asked = CommandRef(sha256_hex(f"{stream}@{first}".encode()), "0" * 64)
    return Append(
        drafts=tuple(
            Draft(
                stream=stream,
                version=first + n,
                event=StageFinished(),
                occurred_at=NOW,
                actor="sub_0123456789abcdef",
                command=asked,
                environment="production",
                service="web",
                deployment=stream,
            )
            for n in range(number)
        ),
        commands=(asked,),
    )


async def ours(url: str, clients: int, batch: int, number: int, release: Release) -> float:
    """Return events a second of so many clients, each waiting for its own durable answer."""
    store = await PostgresStore.open(url, terms=Terms(release))
    streams = [f"deployment:{uuid.uuid4()}" for _ in range(clients)]
    each = number // clients // batch
    wanted = [[drafts(s, 1 + n * batch, batch) for n in range(each)] for s in streams]
    await store.log.append(drafts(f"warm:{uuid.uuid4()}", 1, 1))

    async def client(appends: list[Append]) -> None:
        for append in appends:
            await store.log.append(append)

    began = time.perf_counter()
    await asyncio.gather(*(client(appends) for appends in wanted))
    taken = time.perf_counter() - began
    await store.close()
    return clients * each * batch / taken


def copy(url: str, batch: int, number: int) -> float:
    """Return events a second of COPY, one transaction a batch: the limit."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS raw_events")
        connection.execute(TABLE.encode())
        position, stream = 0, f"deployment:{uuid.uuid4()}"
        began = time.perf_counter()
        for _ in range(number // batch):
            with connection.cursor().copy(COPY) as writing:
                writing.set_types(TYPES)
                for _ in range(batch):
                    position += 1
                    writing.write_row((position, stream, position, StageFinished.TOPIC, NOW, STATE))
        return position / (time.perf_counter() - began)


def application(url: str, *, has_tables: bool = False) -> Application[uuid.UUID]:
    where = conninfo_to_dict(url)
    names = {"DBNAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user"}
    env = {f"POSTGRES_{ours}": str(where[theirs]) for ours, theirs in names.items()}
    password = {"POSTGRES_PASSWORD": str(where["password"])}
    tables = {"CREATE_TABLE": "no" if has_tables else "yes"}
    return Application[uuid.UUID](
        env={"PERSISTENCE_MODULE": "eventsourcing.postgres", **env, **password, **tables}
    )


def library(url: str, number: int) -> float:
    """Return events a second of `Application.save`, one after the other, as shipped."""
    app = application(url)
    deployment = Deployment()
    app.save(deployment)
    began = time.perf_counter()
    for _ in range(number):
        deployment.finish()
        app.save(deployment)
    taken = time.perf_counter() - began
    app.close()
    return number / taken


def until(seconds: float) -> Callable[[], bool]:
    """Say that this process is ready, wait to be told to begin, then count the time."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def raw_process(url: str, seconds: float) -> int:
    stream, done = f"deployment:{uuid.uuid4()}", 0
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(RAW, (stream, 0, StageFinished.TOPIC, NOW, STATE))
        goes_on = until(seconds)
        while goes_on():
            done += 1
            connection.execute(RAW, (stream, done, StageFinished.TOPIC, NOW, STATE))
    return done


def library_process(url: str, seconds: float) -> int:
    app, deployment, done = application(url, has_tables=True), Deployment(), 0
    app.save(deployment)
    goes_on = until(seconds)
    while goes_on():
        deployment.finish()
        app.save(deployment)
        done += 1
    app.close()
    return done


async def our_process(url: str, seconds: float, clients: int = 1) -> int:
    store = await PostgresStore.open(url, terms=Terms(Release.EARLY))
    streams = [f"deployment:{uuid.uuid4()}" for _ in range(clients)]
    for stream in streams:
        await store.log.append(drafts(stream, 1, 1))
    goes_on = until(seconds)
    done = count()

    async def client(stream: str) -> None:
        version = 1
        while goes_on():
            version += 1
            await store.log.append(drafts(stream, version, 1))
            next(done)

    await asyncio.gather(*map(client, streams))
    await store.close()
    return next(done)


def main(kind: str, url: str, seconds: str) -> None:
    one: dict[str, Callable[[], Coroutine[Any, Any, int]]] = {
        "ours": lambda: our_process(url, float(seconds)),
        "ours x8": lambda: our_process(url, float(seconds), 8),
    }
    others = {"raw": raw_process, "library": library_process}
    done = asyncio.run(one[kind]()) if kind in one else others[kind](url, float(seconds))
    sys.stdout.write(f"{done}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main(*sys.argv[1:])
