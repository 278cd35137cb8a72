"""A server for the session and a ledger for each test that asks for one."""

from collections.abc import Iterator

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import fresh_ledger, make_template, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with running_server() as server:
        make_template(server)
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    with fresh_ledger(server) as url:
        yield url
