"""What system tests share: an installation, and a cluster on the session's database server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import fresh_ledger

from .apart.cluster import Cluster
from .installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Give one that is ended also when the test fails."""
    here = Installation(tmp_path)
    try:
        here.start()
        yield here
    finally:
        here.end()


@pytest.fixture
def cluster(server: PostgresServer, tmp_path: Path) -> Iterator[Cluster]:
    with fresh_ledger(server) as url:
        here = Cluster(url, tmp_path)
        try:
            yield here
        finally:
            here.end()
