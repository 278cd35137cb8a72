# pyright: reportPrivateUsage=false
"""Backends that are ended, servers that fall: what was acknowledged or seen is there afterwards."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.postgres.connections import Connections
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.domain.append import Due
from shipslog.domain.errors import OutcomeUnknownError
from tests.databases import carry_out, fresh_ledger, make_template, running_server

from ..making import START, HandClock, appending, draft, one
from .appending import pair, settled
from .watching import Acknowledged, Reader, check

CLIENTS = 8
FALLS = 2
END_WRITERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE query LIKE '%append_events%' AND pid <> pg_backend_pid() AND datname = current_database()
"""
ORDER_LOCK = "SELECT pg_advisory_lock(7887012594)"
END_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE wait_event = 'advisory' AND datname = current_database()
"""
# It returns when they have ended, and with them their sockets.
END_IDLE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE application_name = 'shipslog' AND query NOT LIKE '%append%'
    AND datname = current_database()
"""
END_LOCKED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
OTHERS = """
SELECT pid FROM pg_stat_activity WHERE client_port IS NOT NULL AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    # Nothing is flushed before somebody asks for it, so that a reader ahead of it is found out.
    with running_server(wal_writer_delay="10s", recovery_init_sync_method="syncfs") as server:
        make_template(server)
        yield server


async def test_a_backend_that_is_ended_leaves_an_outcome_that_the_command_settles(
    database: str,
) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    for number in range(150):
        append = one("a", number + 1)
        try:
            waiting = asyncio.create_task(store.log.append(append))
            if number % 5 == 0:
                await asyncio.to_thread(carry_out, database, END_WRITERS)
            await waiting
        except (OutcomeUnknownError, StoreUnreachableError):
            assert (await settled(store, append)).last == number + 1
    assert await store.log.head() == 150
    assert list(store.log.verify()) == []
    await store.close()


async def test_a_backend_that_is_ended_amid_an_append_leaves_it_unknown(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    await store.log.append(one("a", 1))
    with psycopg.connect(database, autocommit=True) as other:
        # Who has the order lock keeps the append where it is until its backend is ended.
        other.execute(ORDER_LOCK)
        waiting = asyncio.create_task(store.log.append(one("a", 2)))
        while not carry_out(database, END_WAITING):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)
        with pytest.raises(OutcomeUnknownError):
            await waiting
    assert (await settled(store, one("a", 2))).last == 2
    assert await store.log.head() == 2
    await store.close()


async def test_a_backend_that_is_ended_while_its_channel_opens_leaves_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Connections.connect

    async def connect_and_be_ended(connections: Connections) -> AsyncConnection[Any]:
        connection = await connect(connections)
        pid = connection.info.backend_pid
        await asyncio.to_thread(carry_out, database, f"SELECT pg_terminate_backend({pid}, 5000)")
        return connection

    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    with monkeypatch.context() as patching:
        patching.setattr(Connections, "connect", connect_and_be_ended)
        with pytest.raises(StoreUnreachableError):
            await store.log.append(one("a", 1))
    assert (await store.log.append(one("a", 1))).last == 1
    await store.close()


async def test_what_ended_while_nobody_had_it_is_not_lent(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    await store.log.append(one("a", 1))
    assert [event.position for event in store.log.scan()] == [1]
    assert carry_out(database, END_IDLE) >= 2
    assert await store.log.head() == 1
    assert [event.position for event in store.log.scan()] == [1]
    await store.close()


async def test_who_asks_again_after_the_channel_ended_is_answered(database: str) -> None:
    store = await PostgresStore.open(database, HandClock(), Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    assert len(await store.log.stream("d")) == 1
    assert carry_out(database, END_IDLE) >= 1
    assert len(await store.log.stream("d")) == 1
    assert carry_out(database, END_IDLE) >= 1
    assert [lease.stream for lease in await store.work.claim("me", 1)] == ["d"]
    await store.close()


async def test_a_question_that_cannot_be_answered_takes_no_other_along(database: str) -> None:
    store = await PostgresStore.open(database, HandClock(), Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    (before,) = await store.log.stream("d")
    asking = store._questions._channel
    wrong = asyncio.create_task(store.log.stream("\0"))
    assert [lease.stream for lease in await store.work.claim("me", 1)] == ["d"]
    with pytest.raises(psycopg.DataError):
        await wrong
    (after,) = await store.log.stream("d")
    assert (after.header, after.payload) == (before.header, before.payload)
    assert store._questions._channel is asking
    await store.close()


async def test_who_waits_when_the_channel_ends_is_told_so(database: str) -> None:
    store = await PostgresStore.open(database, HandClock(), Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    assert len(await store.log.stream("d")) == 1
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE shipslog.work")
        waiting = asyncio.create_task(store.work.claim("me", 1))
        behind = asyncio.create_task(store.log.stream("d"))
        while not carry_out(database, END_LOCKED):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)
        with pytest.raises(StoreUnreachableError):
            await waiting
        with pytest.raises(StoreUnreachableError):
            await behind
    assert [lease.stream for lease in await store.work.claim("me", 1)] == ["d"]
    await store.close()


async def test_who_is_cancelled_leaves_the_channel_to_the_others(database: str) -> None:
    store = await PostgresStore.open(database, HandClock(), Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    claims = [asyncio.create_task(store.work.claim("me", 1)) for _ in range(2)]
    await asyncio.sleep(0)
    claims[0].cancel()  # the channel is still being opened
    assert [lease.stream for lease in await claims[1]] == ["d"]
    reading = asyncio.create_task(store.log.stream("d"))
    while not store._questions._channel._under_way:  # type: ignore[union-attr]  # noqa: ASYNC110
        await asyncio.sleep(0)
    reading.cancel()
    assert len(await store.log.stream("d")) == 1
    await store.close()


async def test_a_channel_on_which_something_failed_is_never_used_again(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    await store.log.append(one("a", 1))
    before = store._writer._channel
    assert before is not None
    carry_out(database, "ALTER PROCEDURE append_events RENAME TO away")
    with pytest.raises(OutcomeUnknownError):
        await store.log.append(one("a", 2))
    assert before.is_broken
    carry_out(database, "ALTER PROCEDURE away RENAME TO append_events")
    assert (await store.log.append(one("a", 2))).last == 2
    assert store._writer._channel is not before
    await store.close()


async def test_who_is_cancelled_while_connecting_leaves_no_connection(
    own_server: PostgresServer,
) -> None:
    with fresh_ledger(own_server) as url:
        connections = Connections(url)
        connecting = asyncio.create_task(connections.connect())
        # The event loop stands still meanwhile, so that the server waits for the password.
        while not carry_out(url, OTHERS):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0)
        connecting.cancel()
        # Who was cancelled is kept: it may not take that nobody has it any more.
        await asyncio.wait([connecting])
        await connections.close()
        assert connecting.cancelled()
        deadline = time.monotonic() + 20
        while carry_out(url, OTHERS):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("release", [Release.AFTER_FLUSH, Release.EARLY])
async def test_a_server_that_falls_again_and_again_loses_nothing(
    own_server: PostgresServer, release: Release
) -> None:
    with fresh_ledger(own_server) as url:
        store = await PostgresStore.open(url, terms=Terms(release))
        watcher = await PostgresStore.open(url, terms=Terms(release))
        reader, answers = Reader(watcher), Acknowledged()
        following = asyncio.create_task(reader.follow())
        ended = asyncio.Event()

        async def client(name: str) -> None:
            number = 0
            while not ended.is_set():
                append = pair(name, number)
                answer = await settled(store, append)
                answers[append.commands[0].id] = answer.first, answer.last
                number += 1

        clients = [asyncio.create_task(client(f"c{n}")) for n in range(CLIENTS)]
        for _ in range(FALLS):
            before = len(answers)
            while len(answers) < before + 60:  # noqa: ASYNC110 - a condition of many
                await asyncio.sleep(0.01)
            await asyncio.to_thread(own_server.stop, "immediate")
            await asyncio.to_thread(own_server.start)
        ended.set()
        await asyncio.gather(*clients)
        await reader.reach(await watcher.log.head())
        following.cancel()
        check(list(store.log.scan()), reader.seen, answers)
        assert list(store.log.verify()) == []
        assert len(answers) >= FALLS * 60
        await watcher.close()
        await store.close()


@pytest.mark.parametrize("release", [Release.AFTER_FLUSH, Release.EARLY])
async def test_what_is_acknowledged_is_flushed(
    own_server: PostgresServer, release: Release
) -> None:
    with fresh_ledger(own_server) as url:
        store = await PostgresStore.open(url, terms=Terms(release))
        flushed = 0
        for number in range(1, 6):
            await store.log.append(one("a", number))
            flushed += is_flushed(url, end_of_log(url))
        # The server may write something of its own in between, but not every time.
        assert flushed >= 3
        await store.close()


async def test_nothing_leaves_the_store_before_it_is_flushed(own_server: PostgresServer) -> None:
    with fresh_ledger(own_server) as url:
        store = await PostgresStore.open(url, terms=Terms(Release.EARLY))
        await store.log.append(one("a", 1))
        channel = store._writer._channel
        assert channel is not None
        # Stands for a writer that has committed and not come to its flush yet.
        flushes_nothing = b"SELECT set_config('synchronous_commit', 'off', false)"
        channel._wire.send_query_params(flushes_nothing, None)
        channel.barrier(lambda _, __: None)
        await store.log.append(one("a", 2))
        end = end_of_log(url)
        assert not is_flushed(url, end)
        other = await PostgresStore.open(url, terms=Terms(Release.EARLY))
        seen = await other.log.page(after=0, limit=10)
        assert [event.position for event in seen] == [1, 2]
        assert is_flushed(url, end)
        own_server.stop("immediate")
        own_server.start()
        assert await alive(other)
        kept = await other.log.page(after=0, limit=10)
        assert [event.payload for event in kept] == [event.payload for event in seen]
        await other.close()
        await store.close()


async def alive(store: PostgresStore) -> bool:
    """Wait until the store has a connection to the server that came back."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            await store.log.head()
        except StoreUnreachableError:
            await asyncio.sleep(0.05)
        else:
            return True
    return False


def end_of_log(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        return str(row and row[0])


def is_flushed(url: str, end: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn"
        row = connection.execute(query, (end,)).fetchone()
        return bool(row and row[0])
