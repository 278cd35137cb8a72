"""A prepared data folder for the session, from which each test's servers are copied."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import SMALL, TEMPLATE, make_template

IS_FULL = os.environ.get("SHIPSLOG_TEST_STANDBY") == "all"
LEDGER = TEMPLATE

collect_ignore = [] if IS_FULL else ["test_operator.py"]
"""Two servers and two starts of everything: as dear as all the others together."""


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """Give the folder of a stopped server, with a ledger in it."""
    with tempfile.TemporaryDirectory(prefix="shipslog-postgres-") as folder:
        # Run by root, the server is nobody, who has to get in.
        Path(folder).chmod(0o711)
        data = Path(folder) / "data"
        with PostgresServer(data, SMALL) as server:
            make_template(server)
        yield data


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shipslog-postgres-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)
