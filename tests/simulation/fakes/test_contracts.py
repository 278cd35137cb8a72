"""The fakes of the simulation keep the contracts of what they stand for."""

from typing import cast

import pytest

from tests.adapters.store.contract import OpenStore, Store, shut
from tests.adapters.store.log_contract import LogContract
from tests.adapters.store.making import HandClock
from tests.adapters.store.reading_contract import ReadingContract
from tests.adapters.store.work_contract import LoseLeases, WorkContract

from .server import FakeServer
from .store import FakeStore


class OnFakeStore:
    LEASE: float | None = None

    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def server(self) -> FakeServer:
        return FakeServer(self.LEASE)

    @pytest.fixture
    def open_store(self, server: FakeServer, clock: HandClock) -> OpenStore:
        async def open_store() -> Store:
            return cast("Store", FakeStore(server, clock))

        return open_store

    @pytest.fixture
    def lose_leases(self, server: FakeServer, open_store: OpenStore) -> LoseLeases:
        async def lose(store: Store) -> Store:
            if self.LEASE is None:
                await shut(store)
                return await open_store()
            server.void_leases()
            return store

        return lose


class TestFakeLog(OnFakeStore, LogContract):
    pass


class TestFakeReading(OnFakeStore, ReadingContract):
    pass


class TestFakeWork(OnFakeStore, WorkContract):
    pass


class OnSharedFakeStore(OnFakeStore):
    LEASE = 15.0


class TestSharedFakeLog(OnSharedFakeStore, LogContract):
    pass


class TestSharedFakeReading(OnSharedFakeStore, ReadingContract):
    pass


class TestSharedFakeWork(OnSharedFakeStore, WorkContract):
    pass
