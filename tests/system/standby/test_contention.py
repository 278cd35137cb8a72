"""Clients who get into each other's way: nobody is held up for good, nothing is half.

`SHIPSLOG_TEST_IDLE_SECONDS=60` lets a forgotten transaction stand as long as the matrix has it.
"""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shipslog.adapters.clock import SystemClock
from shipslog.adapters.store.postgres.schema import create
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.domain.access import Actor, Role
from shipslog.domain.append import Append, Due
from shipslog.domain.commands import DefineEnvironment, DefinePipeline, RequestDeployment
from shipslog.domain.errors import RetryableError, TargetBusyError
from shipslog.domain.ledger import Door
from shipslog.domain.target import Target
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower
from shipslog.projections.follower.postgres import PostgresViews
from shipslog.projections.follower.postgres.migrations import migrate
from tests.adapters.store.making import appending, draft
from tests.databases import SMALL, administer, carry_out, fresh_ledger
from tests.invariants import violations

from ..crashing.conditions import eventually
from ..documents import environment, pipeline
from .load import SOON_SECONDS

ROUNDS = 20
CLAIMS = 100
IDLE_SECONDS = int(os.environ.get("SHIPSLOG_TEST_IDLE_SECONDS") or "1")
ORDER_LOCK = "SELECT pg_advisory_xact_lock(7887012594)"
WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{}%'"

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def alone(prepared: Path) -> Iterator[PostgresServer]:
    data = prepared.with_name("alone")
    subprocess.run(["cp", "-a", "--reflink=auto", str(prepared), str(data)], check=True)
    with PostgresServer(data, SMALL | {"deadlock_timeout": "100ms"}) as server:
        yield server


@pytest.fixture
def url(alone: PostgresServer) -> Iterator[str]:
    with fresh_ledger(alone) as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[PostgresStore]:
    store = await PostgresStore.open(url, terms=Terms(Release.AFTER_FLUSH))
    try:
        yield store
    finally:
        await store.close()


def looks(stream: str, version: int, *due: str) -> Append:
    """Return an append that makes streams due, in the order in which they are named."""
    at = datetime.now(UTC)
    return appending(draft(stream, version), due=tuple(Due(name, at) for name in due))


async def test_locks_that_are_wanted_in_opposite_orders_are_had_in_one(
    alone: PostgresServer, url: str
) -> None:
    # F12
    names, before = ("x", "y", "z"), len(alone.log.read_text())
    async with opened(url) as here, opened(url) as there:
        await here.log.append(looks("first", 1, *names))
        leases = await here.work.claim("me", 3)
        for version in range(1, ROUNDS + 1):
            await asyncio.gather(
                here.log.append(looks("a", version, *names)),
                there.log.append(looks("b", version, *names[::-1])),
                here.work.renew(leases),
                there.work.renew(leases[::-1]),
                there.work.claim("you", 3),
            )
        assert await here.log.head() == 2 * ROUNDS + 1
        assert list(here.log.verify()) == []
    assert "deadlock" not in alone.log.read_text()[before:]


async def test_an_append_that_gives_way_in_a_deadlock_is_stored_all_the_same_and_once(
    url: str,
) -> None:
    # F12: somebody else locks in another order, and waits for ever
    async with (
        opened(url) as store,
        await psycopg.AsyncConnection.connect(url) as first,
        await psycopg.AsyncConnection.connect(url) as other,
    ):
        await store.log.append(looks("a", 1, "x", "y"))
        await locked(first, "x")
        await other.execute("SET deadlock_timeout = '1h'")
        await locked(other, "y")
        waiting = asyncio.create_task(store.log.append(looks("a", 2, "x", "y")))
        assert await eventually(lambda: is_waiting(url, "append_events"), SOON_SECONDS)
        circle = asyncio.create_task(other.execute(ORDER_LOCK))
        assert await eventually(lambda: is_waiting(url, "advisory"), SOON_SECONDS)
        await first.rollback()
        # Who waits with a short breath finds the circle, and that is the append.
        await circle
        await other.rollback()
        assert (await waiting).last == 2
        assert await store.log.head() == 2
        assert list(store.log.verify()) == []


async def locked(connection: psycopg.AsyncConnection[Any], stream: str) -> None:
    await connection.execute("SELECT FROM shipslog.work WHERE stream = %s FOR UPDATE", (stream,))


async def is_waiting(url: str, query: str) -> bool:
    return await asyncio.to_thread(carry_out, url, WAITING.format(query)) > 0


@pytest.mark.parametrize("policy", ["queue", "refuse"])
async def test_of_a_hundred_who_want_a_target_one_holds_it(url: str, policy: str) -> None:
    # F13
    async with opened(url) as here, opened(url) as there:
        actor = Actor(await here.directory.ensure("user", "tester"), Role.ADMIN)
        doors = [Door(store.log, SystemClock(), store.keyring) for store in (here, there)]
        lab = environment("lab") | {"concurrency": policy, "limits": {"concurrent": CLAIMS}}
        say = pipeline("web", {"name": "say", "run": ["true"]})
        await doors[0].carry_out(DefineEnvironment(name="lab", document=lab), actor)
        await doors[0].carry_out(DefinePipeline(name="web", document=say), actor)
        answers = Counter(
            await asyncio.gather(*(claim(doors[n % 2], actor, n) for n in range(CLAIMS)))
        )
        log = await here.log.page(after=0, limit=10 * CLAIMS)
    assert not violations(log)
    assert sum(isinstance(event.event, Target.Held) for event in log) == 1
    admitted = CLAIMS if policy == "queue" else 1
    assert answers == Counter(admitted=admitted, busy=CLAIMS - admitted) - Counter()


async def claim(door: Door, actor: Actor, number: int) -> str:
    """Ask until it is answered, as who is told 503 does."""
    wish = RequestDeployment(pipeline="web", version=f"1.0.{number}", environment="lab")
    while True:
        try:
            await door.carry_out(wish, actor, key=f"wish-{number}")
        except TargetBusyError:
            return "busy"
        except RetryableError:
            continue
        return "admitted"


async def test_a_transaction_that_is_forgotten_holds_nothing_up_and_is_ended(
    alone: PostgresServer,
) -> None:
    # F14
    administer(alone, "CREATE DATABASE forgotten")
    url = alone.url("forgotten")
    create(url)
    migrate(url, READ_MODELS)
    with psycopg.connect(url) as fresh:
        limit = fresh.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert limit == ("1min",)
    carry_out(
        url,
        f"ALTER DATABASE forgotten SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
    )
    async with opened(url) as store:
        await store.log.append(looks("a", 1))
        async with forgotten(url) as (idle, reader):
            follower = Follower(store.log, PostgresViews(url, READ_MODELS))
            await follower.open()
            following = asyncio.create_task(follower.run())
            for version in range(2, ROUNDS):
                await store.log.append(looks("a", version, "x"))
            await follower.reached(ROUNDS - 1, SOON_SECONDS)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await follower.close()
            with pytest.raises(psycopg.Error):
                await until_ended(idle)
            await reader
    administer(alone, "DROP DATABASE forgotten WITH (FORCE)")
    assert "terminating connection due to idle-in-transaction timeout" in alone.log.read_text()


@asynccontextmanager
async def forgotten(
    url: str,
) -> AsyncGenerator[tuple[psycopg.AsyncConnection[Any], asyncio.Task[Any]]]:
    """Give a transaction that has read the log and does nothing more, and one that reads on."""
    idle = await psycopg.AsyncConnection.connect(url)
    busy = await psycopg.AsyncConnection.connect(url)
    # It is not idle for longer than it takes to begin; but who knows how long that is here.
    await busy.execute("SET idle_in_transaction_session_timeout = 0")
    for connection in (idle, busy):
        await connection.execute("SELECT FROM shipslog.stored_events, views.progress")
    sleep: Coroutine[Any, Any, Any] = busy.execute("SELECT pg_sleep(%s)", (IDLE_SECONDS,))
    reading = asyncio.create_task(sleep)
    try:
        yield idle, reading
    finally:
        await asyncio.gather(reading, return_exceptions=True)
        await busy.close()
        await idle.close()


async def until_ended(connection: psycopg.AsyncConnection[Any]) -> None:
    """Wait until the server has ended a connection. Errors: psycopg's, which says so."""
    async with asyncio.timeout(IDLE_SECONDS + SOON_SECONDS):
        async for _ in connection.notifies():
            pass
