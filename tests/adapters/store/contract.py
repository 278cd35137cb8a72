"""What every contract of a store stands on: a way to open one, and one that is open."""

from collections.abc import Callable, Iterator

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore

Store = SqliteStore
"""The stores that keep the contracts; the next one joins here as a union."""
OpenStore = Callable[[], Store]
"""Opens the one store of a test; after closing it first, this is a restart."""


class Contract:
    """Give it fixtures `clock` and `open_store`."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        store = open_store()
        yield store
        store.close()
