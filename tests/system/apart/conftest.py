"""A database server for the session, and a cluster for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import fresh_ledger, make_template, running_server

from .cluster import Cluster


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
