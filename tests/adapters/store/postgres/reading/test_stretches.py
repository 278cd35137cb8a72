"""Stretches on PostgreSQL: the next one comes while something is made of one, and never longer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.postgres import reading
from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.domain.errors import CorruptLogError
from shipslog.domain.ports import Stretch
from tests.databases import carry_out

from ...making import HandClock, appending, draft

EVENTS = 2500
LASTS = [1000, 2000, EVENTS]
OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'shipslog'
"""
BUSY = f"SELECT count(*) {OTHERS} AND state <> 'idle'"
TERMINATE = f"SELECT pg_terminate_backend(pid, 5000) {OTHERS}"


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(database, HandClock())
    await store.log.append(appending(*[draft("a", n) for n in range(1, EVENTS + 1)]))
    yield store
    await store.close()


@pytest.fixture
def asked(database: str) -> Iterator[Callable[[str], int]]:
    """Ask the server something, on a connection of its own."""
    with psycopg.connect(database, autocommit=True) as connection:

        def ask(query: str) -> int:
            found: tuple[int] | None = connection.execute(query.encode()).fetchone()
            return found[0] if found else 0

        yield ask


async def test_the_next_is_asked_for_before_something_is_made(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[object] = []
    for name in ("send", "fetch_many"):
        monkeypatch.setattr(reading, name, partial(noted, order, name, getattr(reading, name)))
    coming = store.log.stretches(lambda stretch: order.append(stretch.last), after=0, upto=EVENTS)
    order.extend("taken" for _ in coming)
    first, second, third = LASTS
    begun = ["send", "fetch_many", "send", first, "fetch_many", "taken"]
    assert order == [*begun, "send", second, "fetch_many", "taken", third, "taken"]


async def test_nothing_is_under_way_while_somebody_takes_his_time(
    store: PostgresStore, asked: Callable[[str], int]
) -> None:
    lasts: list[int] = []
    for last in store.log.stretches(lambda stretch: stretch.last, after=0, upto=EVENTS):
        lasts.append(last)
        assert asked(BUSY) == 0
    assert lasts == LASTS


async def test_what_cannot_be_made_leaves_no_answer_to_who_asks_next(store: PostgresStore) -> None:
    def refuse(stretch: Stretch) -> int:
        if stretch.last > LASTS[0]:
            raise CorruptLogError(position=stretch.first, detail="it is broken")
        return stretch.last

    lasts = store.log.stretches(refuse, after=0, upto=EVENTS)
    assert next(lasts) == LASTS[0]
    with pytest.raises(CorruptLogError):
        next(lasts)
    again = store.log.stretches(lambda stretch: stretch.last, after=0, upto=EVENTS)
    assert list(again) == LASTS


async def test_a_server_that_goes_meanwhile_is_told_as_such(
    store: PostgresStore, database: str, asked: Callable[[str], int]
) -> None:
    def make(stretch: Stretch) -> int:
        if stretch.last > LASTS[0]:
            asked(TERMINATE)
        return stretch.last

    coming = store.log.stretches(make, after=0, upto=EVENTS)
    assert next(coming) == LASTS[0]
    with psycopg.connect(database) as locking:
        # Whoever asks now has no answer before he is ended.
        locking.execute("LOCK TABLE shipslog.stored_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnreachableError):
            await asyncio.to_thread(next, coming)


async def test_an_error_of_the_server_is_raised_as_the_driver_would(
    store: PostgresStore, database: str
) -> None:
    assert list(store.log.stretches(lambda stretch: stretch.last, after=0, upto=1)) == [1]
    carry_out(database, "REVOKE SELECT ON stored_events FROM shipslog_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        list(store.log.stretches(lambda stretch: stretch.last, after=0, upto=1))


def noted(order: list[object], name: str, act: Callable[..., Any], *given: Any) -> Any:  # noqa: ANN401 - of the driver
    order.append(name)
    return act(*given)
