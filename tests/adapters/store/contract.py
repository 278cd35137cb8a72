"""What every contract of a store stands on: a way to open one, and one that is open."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.adapters.store.sqlite.store import SqliteStore

Store = SqliteStore | PostgresStore
OpenStore = Callable[[], Awaitable[Store]]
"""Opens the one store of a test; after closing it first, this is a restart."""


class Contract:
    """Give it fixtures `clock` and `open_store`."""

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[Store]:
        store = await open_store()
        yield store
        await shut(store)


async def shut(store: Store) -> None:
    """Close a store, whether or not it takes the event loop to do so."""
    closing = store.close()
    if closing is not None:
        await closing
