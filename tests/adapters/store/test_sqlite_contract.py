"""The embedded store keeps the contract."""

from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore

from .contract import OpenStore, Store, shut
from .log_contract import LogContract
from .making import HandClock
from .people_contract import PeopleContract
from .reading_contract import ReadingContract
from .work_contract import LoseLeases, WorkContract


class OnSqlite:
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def open_store(self, tmp_path: Path, clock: HandClock) -> OpenStore:
        async def open_store() -> SqliteStore:
            return SqliteStore.open(tmp_path / "data", clock)

        return open_store

    @pytest.fixture
    def lose_leases(self, open_store: OpenStore) -> LoseLeases:
        async def restart(store: Store) -> Store:
            await shut(store)
            return await open_store()

        return restart


class TestSqliteLog(OnSqlite, LogContract):
    pass


class TestSqliteReading(OnSqlite, ReadingContract):
    pass


class TestSqliteWork(OnSqlite, WorkContract):
    pass


class TestSqlitePeople(OnSqlite, PeopleContract):
    pass
