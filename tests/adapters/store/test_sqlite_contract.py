"""The embedded store keeps the contract."""

from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore

from .contract import OpenStore
from .log_contract import LogContract
from .making import HandClock
from .people_contract import PeopleContract
from .reading_contract import ReadingContract
from .work_contract import WorkContract


class OnSqlite:
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def open_store(self, tmp_path: Path, clock: HandClock) -> OpenStore:
        return lambda: SqliteStore.open(tmp_path / "data", clock)


class TestSqliteLog(OnSqlite, LogContract):
    pass


class TestSqliteReading(OnSqlite, ReadingContract):
    pass


class TestSqliteWork(OnSqlite, WorkContract):
    pass


class TestSqlitePeople(OnSqlite, PeopleContract):
    pass
