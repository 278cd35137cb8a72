"""The store keeps the contract on PostgreSQL 15 too, each half of it under one kind of release."""

from collections.abc import Iterator

import pytest

from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import fresh_ledger

from .log_contract import LogContract
from .people_contract import PeopleContract
from .reading_contract import ReadingContract
from .test_postgres_contract import OnPostgres
from .work_contract import WorkContract


class OnFifteen(OnPostgres):
    @pytest.fixture
    def database(self, fifteen: PostgresServer) -> Iterator[str]:
        with fresh_ledger(fifteen) as url:
            yield url


class TestFifteenLog(OnFifteen, LogContract):
    RELEASE = Release.EARLY


class TestFifteenReading(OnFifteen, ReadingContract):
    RELEASE = Release.EARLY


class TestFifteenWork(OnFifteen, WorkContract):
    pass


class TestFifteenPeople(OnFifteen, PeopleContract):
    pass
