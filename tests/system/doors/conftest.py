"""An installation that the tests of the doors share, and a cluster where they need PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import fresh_ledger, make_template, running_server

from ..apart.cluster import Cluster
from ..installation import Installation


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    here = Installation(tmp_path_factory.mktemp("doors"))
    try:
        here.start()
        yield here
    finally:
        here.end()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with running_server() as server:
        make_template(server)
        yield server


@pytest.fixture
def cluster(server: PostgresServer, tmp_path: Path) -> Iterator[Cluster]:
    with fresh_ledger(server) as url:
        here = Cluster(url, tmp_path)
        try:
            yield here
        finally:
            here.end()
