"""The store on PostgreSQL keeps the contract, whenever its writer gives up the order lock."""

import pytest

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from tests.databases import carry_out

from .contract import OpenStore, Store
from .log_contract import LogContract
from .making import HandClock
from .people_contract import PeopleContract
from .reading_contract import ReadingContract
from .work_contract import LoseLeases, WorkContract


class OnPostgres:
    RELEASE = Release.AFTER_FLUSH

    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def open_store(self, database: str, clock: HandClock) -> OpenStore:
        async def open_store() -> PostgresStore:
            return await PostgresStore.open(database, clock, Terms(self.RELEASE))

        return open_store

    @pytest.fixture
    def lose_leases(self, database: str) -> LoseLeases:
        async def expire(store: Store) -> Store:
            carry_out(database, "UPDATE work SET expires_at = clock_timestamp()")
            return store

        return expire


class TestPostgresLog(OnPostgres, LogContract):
    pass


class TestPostgresReading(OnPostgres, ReadingContract):
    pass


class TestPostgresWork(OnPostgres, WorkContract):
    pass


class TestPostgresPeople(OnPostgres, PeopleContract):
    pass


class OnPostgresReleasedEarly(OnPostgres):
    RELEASE = Release.EARLY


class TestEarlyLog(OnPostgresReleasedEarly, LogContract):
    pass


class TestEarlyReading(OnPostgresReleasedEarly, ReadingContract):
    pass


class TestEarlyWork(OnPostgresReleasedEarly, WorkContract):
    pass
