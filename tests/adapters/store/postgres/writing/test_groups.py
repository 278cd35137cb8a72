# pyright: reportPrivateUsage=false
"""Groups: which appends share a transaction, and what they take along.

What is printed is stored by the append that may name it, whatever becomes of that append.
"""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.postgres.channel import Channel, Done, Values
from shipslog.adapters.store.postgres.connections import Connections
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.tables import blobs
from shipslog.adapters.store.postgres.writer import AT_ONCE, GROUP, Release
from shipslog.domain.errors import ConflictError, OutcomeUnknownError
from tests.databases import carry_out

from ...making import command, one

ORDER_LOCK = "SELECT pg_advisory_lock(7887012594)"
END_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE wait_event = 'advisory' AND datname = current_database()
"""
STORED = "SELECT FROM blobs"


@pytest.fixture(params=[Release.AFTER_FLUSH, Release.EARLY])
async def store(
    request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresStore]:
    # Nothing is stored by itself, unless a test lets it.
    monkeypatch.setattr(blobs, "ALONE_SECONDS", 3600)
    store = await PostgresStore.open(database, terms=Terms(request.param))
    yield store
    await store.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Values]:
    """Give what each group sends."""
    sent: list[Values] = []
    append = Channel.append

    def noting(channel: Channel, values: Values, done: Done, *, is_early: bool) -> None:
        sent.append(values)
        append(channel, values, done, is_early=is_early)

    monkeypatch.setattr(Channel, "append", noting)
    return sent


async def test_who_appends_alone_waits_for_nobody(store: PostgresStore, sent: list[Values]) -> None:
    await store.log.append(one("a", 1))
    for version in range(2, 5):
        waiting = asyncio.create_task(store.log.append(one("a", version)))
        before = len(sent)
        await asyncio.sleep(0)
        assert len(sent) == before + 1
        await waiting


async def test_who_goes_on_when_answered_gets_into_the_next_group(
    store: PostgresStore, sent: list[Values]
) -> None:
    await store.log.append(one("alone", 1))

    async def client(name: str) -> None:
        for version in range(1, 11):
            await store.log.append(one(name, version))

    await asyncio.gather(*(client(f"s{n}") for n in range(8)))
    # The first has gone out alone, and then all keep step.
    assert len(sent) <= 1 + 1 + 11


async def test_who_has_appended_goes_on_before_who_follows(store: PostgresStore) -> None:
    await store.log.append(one("a", 1))
    assert await store.log.wait_beyond(0, 30) == 1
    order: list[str] = []

    async def follow() -> None:
        await store.log.wait_beyond(1, 30)
        order.append("followed")

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await store.log.append(one("a", 2))
    order.append("appended")
    await following
    assert order == ["appended", "followed"]


async def test_an_output_is_stored_with_the_next_event(store: PostgresStore, database: str) -> None:
    digest = await store.blobs.put(b"printed")
    assert carry_out(database, STORED) == 0
    assert await store.blobs.get(digest) == b"printed"
    await store.log.append(one("a", 1))
    assert carry_out(database, STORED) == 1
    assert store._outputs.waiting() == {}
    assert await store.blobs.get(digest) == b"printed"


async def test_an_append_that_is_refused_or_known_takes_them_along_too(
    store: PostgresStore, database: str
) -> None:
    other = await PostgresStore.open(database)
    await other.log.append(one("a", 1))
    await other.close()
    await store.blobs.put(b"first")
    assert (await store.log.append(one("a", 1))).known
    assert carry_out(database, STORED) == 1
    await store.blobs.put(b"second")
    with pytest.raises(ConflictError):
        await store.log.append(one("a", 7, command=command("x")))
    assert carry_out(database, STORED) == 2
    assert store._outputs.waiting() == {}


async def test_what_was_on_its_way_when_the_outcome_became_unknown_goes_with_the_next(
    store: PostgresStore, database: str
) -> None:
    await store.log.append(one("a", 1))
    await store.blobs.put(b"printed")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(ORDER_LOCK)
        waiting = asyncio.create_task(store.log.append(one("a", 2)))
        while not carry_out(database, END_WAITING):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)
        with pytest.raises(OutcomeUnknownError):
            await waiting
    assert carry_out(database, STORED) == 0
    await store.log.append(one("a", 2))
    assert carry_out(database, STORED) == 1


async def test_a_second_group_does_not_rely_on_the_first(
    store: PostgresStore, sent: list[Values]
) -> None:
    await store.log.append(one("warm", 1))
    await store.blobs.put(b"printed")
    await asyncio.gather(*(store.log.append(one(f"s{n}", 1)) for n in range(GROUP * 3)))
    # The first may be taken back as long as there is no answer; then there is one.
    took = [any(b"printed" in (value or b"") for value in values) for values in sent[1:]]
    assert took[:AT_ONCE] == [True] * AT_ONCE
    assert took[-1] is False


@pytest.mark.parametrize("name", ["SMALL_BYTES", "WAITING_BYTES"])
async def test_what_is_large_or_too_much_is_stored_at_once(
    store: PostgresStore, database: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(blobs, name, 3)
    await store.blobs.put(b"abc")
    assert carry_out(database, STORED) == 0
    await store.blobs.put(b"defg")
    assert carry_out(database, STORED) == 1
    await store.log.append(one("a", 1))
    assert carry_out(database, STORED) == 2


async def test_what_no_append_takes_along_is_stored_by_itself(
    store: PostgresStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "ALONE_SECONDS", 0.01)
    for number in range(1, 3):
        await store.blobs.put(str(number).encode())
        while carry_out(database, STORED) < number:  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)
    while store._outputs.waiting():  # noqa: ASYNC110 - it is told a little later
        await asyncio.sleep(0.01)


async def test_what_could_not_be_stored_by_itself_waits_on(
    store: PostgresStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()

    def refuse(_: Connections) -> None:
        tried.set()
        raise StoreUnreachableError

    monkeypatch.setattr(blobs, "ALONE_SECONDS", 0.01)
    with monkeypatch.context() as patching:
        patching.setattr(Connections, "borrow", refuse)
        await store.blobs.put(b"printed")
        await tried.wait()
    assert carry_out(database, STORED) == 0
    await store.log.append(one("a", 1))
    assert carry_out(database, STORED) == 1
