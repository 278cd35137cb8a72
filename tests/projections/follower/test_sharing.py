"""Views that several processes share: one moves them, all learn of it, none undoes another's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from shipslog.domain.errors import RetryableError
from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, Views, standing
from shipslog.projections.follower.postgres import PostgresViews, connecting
from shipslog.projections.follower.postgres.rows import driver
from tests.databases import carry_out

from ..counting import Counting, fingerprints
from ..engines import Postgres
from .growing_log import GrowingLog
from .test_follower import SECONDS, Watcher, running
from .test_memory import RUNNING, artifact, replaced, running_one


class Company:
    """Processes that follow the same views."""

    def __init__(self, engine: Postgres, log: GrowingLog) -> None:
        self._engine = engine
        self._log = log
        self._first = engine.make()
        self._closing: dict[Follower, AsyncExitStack] = {}

    async def join(self) -> Follower:
        """Let one more process follow."""
        follower = Follower(self._log, self._engine.again(self._first), Watcher())
        await follower.open()
        closing = self._closing[follower] = AsyncExitStack()
        closing.push_async_callback(follower.close)
        await closing.enter_async_context(running(follower))
        return follower

    async def leave(self, follower: Follower) -> None:
        """End a process; its connections end with it."""
        await self._closing.pop(follower).aclose()

    async def end(self) -> None:
        """End all that are left."""
        for follower in list(self._closing):
            await self.leave(follower)


@pytest.fixture
def engine(database: str) -> Iterator[Postgres]:
    engine = Postgres(database)
    yield engine
    engine.close()


@pytest.fixture
def log(events: Sequence[Recorded]) -> GrowingLog:
    return GrowingLog(events, shown=30)


@pytest.fixture
async def company(engine: Postgres, log: GrowingLog) -> AsyncIterator[Company]:
    company = Company(engine, log)
    yield company
    await company.end()


async def test_one_moves_the_views_and_all_learn_of_it(company: Company, log: GrowingLog) -> None:
    followers = [await company.join() for _ in range(3)]
    for shown in (60, 90):
        log.grow(shown)
        await asyncio.gather(*[one.reached(shown, SECONDS) for one in followers])
        assert [one.leads for one in followers].count(True) == 1
    assert {one.views.standing().position for one in followers} == {90}


async def test_who_does_not_move_them_tells_whose_rows_are_new(
    company: Company, log: GrowingLog
) -> None:
    leader, other = await company.join(), await company.join()
    await asyncio.gather(leader.reached(30, SECONDS), other.reached(30, SECONDS))
    told: list[tuple[int, AbstractSet[str] | None]] = []
    other.listeners.append(lambda streams: told.append((other.position, streams)))
    while not any(streams for _, streams in told):
        log.grow(log.shown + 1)
        await other.reached(log.shown, SECONDS)
    said = [(at, streams) for at, streams in told if streams is not None]
    for at, streams in said:
        # Told before its position moves, and exactly what came after that.
        assert streams == {log.events[at].header.stream}


async def test_when_the_one_that_moves_them_ends_another_does(
    company: Company, log: GrowingLog
) -> None:
    first, second = await company.join(), await company.join()
    await asyncio.gather(first.reached(30, SECONDS), second.reached(30, SECONDS))
    leader, other = (first, second) if first.leads else (second, first)
    assert not other.leads
    await company.leave(leader)
    log.grow(60)
    await other.reached(60, SECONDS)
    assert other.leads


async def test_a_connection_that_is_cut_is_made_again(company: Company, log: GrowingLog) -> None:
    follower = await company.join()
    await follower.reached(30, SECONDS)
    assert isinstance(follower.views, PostgresViews)
    assert await follower.views.read(lambda db: standing(db).position) == 30
    cut(follower.views)
    assert await follower.views.read(lambda db: standing(db).position) == 30
    log.grow(60)
    await follower.reached(60, SECONDS)
    assert await follower.views.read(lambda db: standing(db).position) == 60


def cut(views: PostgresViews) -> None:
    """End every connection of the views."""
    carry_out(
        views.url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE application_name = 'shipslog views' AND pid <> pg_backend_pid()",
    )


async def test_a_database_that_is_gone_is_said_to_pass() -> None:
    views = PostgresViews("postgresql://nobody@127.0.0.1:1/none", READ_MODELS)
    with pytest.raises(RetryableError, match="cannot be reached"):
        await views.read(standing)
    await views.aclose()


def test_who_stood_still_meanwhile_stores_nothing(
    engine: Postgres, events: Sequence[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = engine.new()
    awake = engine.again(paused)
    paused.apply(events[:10])
    with monkeypatch.context() as patch:
        patch.setattr("shipslog.projections.follower.postgres.views.IDLE_SECONDS", 0.05)
        assert paused.lead()
    until(awake.lead)
    awake.apply(events[10:60])
    with pytest.raises(DBAPIError):
        paused.apply(events[10:20])
    assert paused.apply(events[10:20]).position == 60
    assert not paused.lead()
    whole = engine.new()
    whole.apply(events[:60])
    assert fingerprints(awake) == fingerprints(whole)


def test_one_that_is_stopped_while_it_copies_is_not_waited_for(
    engine: Postgres, events: Sequence[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = engine.new()
    awake = engine.again(stopped)
    assert isinstance(stopped, PostgresViews)
    stopped.apply(events[:10])
    assert stopped.lead()
    assert not awake.lead()

    def copy() -> None:
        with stopped.writing() as db, driver(db).cursor().copy("COPY deployments FROM STDIN"):
            with monkeypatch.context() as patch:
                # Not for longer: a busy machine takes more for a batch of the one that is awake.
                patch.setattr("shipslog.projections.follower.postgres.batching.BATCH_SECONDS", 0.05)
                until(awake.lead)
            awake.apply(events[10:60])

    with pytest.raises((DBAPIError, psycopg.Error)):
        copy()
    assert not stopped.lead()
    assert stopped.apply(events[10:20]).position == 60
    whole = engine.new()
    whole.apply(events[:60])
    assert fingerprints(awake) == fingerprints(whole)


def test_who_stands_still_after_a_small_batch_leads_no_longer(
    engine: Postgres, events: Sequence[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = engine.new()
    awake = engine.again(paused)
    paused.apply(events[:10])
    monkeypatch.setattr("shipslog.projections.follower.postgres.views.IDLE_SECONDS", 0.2)

    coming = iter(events[10:])

    def has_led() -> bool:
        batch = [next(coming)]
        try:
            if paused.lead() and paused.at_once(batch):
                return True
            paused.apply(batch)
        except (DBAPIError, psycopg.Error):
            paused.apply(batch)
        return False

    until(has_led)
    until(awake.lead)
    assert fingerprints(awake) == fingerprints(paused)


def until(condition: Callable[[], bool]) -> None:
    """Ask until it is so; a test's time limit is the runner's."""
    while not condition():
        pass


def test_two_that_both_believe_to_move_them_store_each_batch_once(
    engine: Postgres, events: Sequence[Recorded]
) -> None:
    one = engine.new()
    other = engine.again(one)
    for at in range(0, len(events), 7):
        batch = events[at : at + 7]
        for views in (one, other):
            assert views.apply(batch).position == batch[-1].position
    whole = engine.new()
    whole.apply(events)
    assert fingerprints(other) == fingerprints(whole)


def test_rows_that_another_process_has_replaced_are_folded_on(
    engine: Postgres, events: Sequence[Recorded]
) -> None:
    views, name = engine.new(), running_one(events)
    views.apply(events[:RUNNING])
    replaced(engine.again(views), events[:RUNNING], name)
    for event in events[RUNNING:]:
        views.apply([event])
    assert artifact(views, name) == "told otherwise"


async def test_a_rebuild_in_another_process_waits_for_its_turn_and_harms_nothing(
    company: Company, log: GrowingLog
) -> None:
    leader, other = await company.join(), await company.join()
    await asyncio.gather(leader.reached(30, SECONDS), other.reached(30, SECONDS))
    rebuilds = [asyncio.create_task(one.rebuild()) for one in (leader, other, other)]
    for shown in range(31, 120):
        log.grow(shown)
        await asyncio.gather(leader.reached(shown, SECONDS), other.reached(shown, SECONDS))
    await asyncio.gather(*rebuilds)
    assert await schemas(other.views) == ["views"]
    fresh = other.views.beside()
    assert fresh.begin()
    fresh.apply(log.events[: log.shown])
    assert fingerprints(fresh) == fingerprints(other.views)
    fresh.discard()


async def schemas(views: Views) -> list[str]:
    """Return which schemas there are, named as if the views' own were `views`."""
    assert isinstance(views, PostgresViews)
    name = views.name
    async with await psycopg.AsyncConnection.connect(views.url) as connection:
        found = await connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname IN (%s, %s, %s)",
            (name, f"{name}_next", f"{name}_old"),
        )
        return [row[0].replace(name, "views") for row in await found.fetchall()]


async def test_what_a_killed_rebuild_leaves_is_removed_by_the_next(
    engine: Postgres, events: Sequence[Recorded]
) -> None:
    views = engine.new()
    views.apply(events)
    before = fingerprints(views)
    killed = views.beside()
    assert killed.begin()
    killed.apply(events[:50])
    second = views.beside()
    assert not second.begin()
    second.close()
    killed.close()
    assert sorted(await schemas(views)) == ["views", "views_next"]
    assert fingerprints(views) == before
    follower = Follower(GrowingLog(events), engine.again(views))
    await follower.rebuild()
    await follower.close()
    assert await schemas(views) == ["views"]
    assert fingerprints(views) == before


async def test_a_rebuild_waits_for_one_who_reads_for_long_and_holds_up_nobody(
    company: Company, log: GrowingLog
) -> None:
    follower = await company.join()
    await follower.reached(30, SECONDS)
    with follower.views.reading() as db:
        assert standing(db).position == 30
        task = asyncio.create_task(follower.rebuild())
        for shown in range(31, 60):
            log.grow(shown)
            await follower.reached(shown, SECONDS)
            assert await follower.views.read(lambda db: standing(db).position) >= shown
        assert not task.done()
        assert standing(db).position == 30
    await task
    assert await follower.views.read(lambda db: standing(db).position) >= 59


@pytest.mark.parametrize("code", ["53100", "40001", "57014", "25006", "42501"])
def test_trouble_of_the_database_parks_nothing(
    engine: Postgres, events: Sequence[Recorded], code: str
) -> None:
    # A full disk, a lost race, a time limit, a standby, a right that is missing.
    views = engine.new([Counting()])
    assert isinstance(views, PostgresViews)
    table = f"{views.name}.counts"
    carry_out(
        views.url,
        f"CREATE FUNCTION {views.name}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$;"
        f" CREATE TRIGGER fail BEFORE INSERT ON {table} EXECUTE FUNCTION {views.name}.fail()",
    )
    with pytest.raises((DBAPIError, psycopg.Error)):
        views.apply(events)
    assert (views.standing().position, views.parked()) == (0, [])
    carry_out(views.url, f"DROP TRIGGER fail ON {table}")
    assert views.apply(events).position == len(events)


async def test_readers_are_bounded_and_none_is_lost(engine: Postgres) -> None:
    views = engine.new()
    reads = [views.read(lambda db: standing(db).position) for _ in range(connecting.READERS * 5)]
    assert await asyncio.gather(*reads) == [0] * len(reads)
    await views.aclose()
