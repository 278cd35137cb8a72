"""Notifications: one sender a process, which tells of a burst and not of each append (F35)."""

import asyncio
import time

import psycopg

from shipslog.adapters.store.postgres.news import CHANNEL, QUIET_SECONDS
from shipslog.adapters.store.postgres.store import PostgresStore

from ..making import one

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


async def client(store: PostgresStore, stream: str) -> None:
    """Append one event after the other."""
    for number in range(1, EACH + 1):
        await store.log.append(one(stream, number))
