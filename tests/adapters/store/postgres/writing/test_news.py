# pyright: reportPrivateUsage=false
"""Notifications: one sender a process, which tells of a burst and not of each append (F35)."""

import asyncio
import time
from itertools import count

import psycopg
import pytest

from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.postgres.channel import Questions
from shipslog.adapters.store.postgres.connections import Connections
from shipslog.adapters.store.postgres.news import CHANNEL, QUIET_SECONDS
from shipslog.adapters.store.postgres.store import PostgresStore

from ...making import one

CLIENTS, EACH = 32, 50
END = "that was all"


async def test_many_appends_make_few_notifications(database: str) -> None:
    store = await PostgresStore.open(database)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as listening:
        await listening.execute(f"LISTEN {CHANNEL}")
        began = time.monotonic()
        await asyncio.gather(*(client(store, f"client-{n}") for n in range(CLIENTS)))
        seconds = time.monotonic() - began
        await store.close()
        await listening.execute("SELECT pg_notify(%s, %s)", (CHANNEL, END))
        heard = 0
        async for said in listening.notifies():
            if said.payload == END:
                break
            heard += 1
    # One with an append, then quiet for a while; after the last of a burst one more.
    assert 1 <= heard <= 2 * (1 + seconds / QUIET_SECONDS)
    assert heard < CLIENTS * EACH


async def test_the_last_of_a_burst_is_told_by_itself(database: str) -> None:
    store = await PostgresStore.open(database)
    versions = count(1)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as listening:
        await listening.execute(f"LISTEN {CHANNEL}")
        # However slow the machine is: until one comes within the quiet of the one before.
        while store._writer._news._later is None:
            await store.log.append(one("a", next(versions)))
        senders = {store.log._durable.writes_by}
        while len(senders) == 1:
            senders |= {said.pid async for said in listening.notifies(timeout=30, stop_after=1)}
    await store.close()


async def test_what_this_process_has_written_it_follows_without_asking(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await PostgresStore.open(database)
    await store.log.append(one("a", 1))
    assert await store.log.wait_beyond(0, 30) == 1

    def refuse(*_: object) -> None:
        raise StoreUnreachableError

    with monkeypatch.context() as patching:
        patching.setattr(Connections, "borrow", refuse)
        patching.setattr(Questions, "ask", refuse)
        waiting = asyncio.create_task(store.log.wait_beyond(1, 30))
        await asyncio.sleep(0)
        (written,) = (await store.log.append(one("a", 2))).events
        assert await store.log.newer(after=1, limit=10) == [written]
        assert await waiting == 2
    await store.close()


async def client(store: PostgresStore, stream: str) -> None:
    """Append one event after the other."""
    for number in range(1, EACH + 1):
        await store.log.append(one(stream, number))
