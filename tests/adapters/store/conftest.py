"""A ledger on the session's server for each test that asks for one."""

import gc
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.conftest import MAY_BE_MISSING
from tests.databases import FIFTEEN, fresh_ledger, make_template, running_server


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Let who leaves a connection open be warned of it, and not a later test."""
    yield
    gc.collect(1)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    with fresh_ledger(server) as url:
        yield url


@pytest.fixture(scope="session")
def fifteen() -> Iterator[PostgresServer]:
    if not FIFTEEN.is_dir():
        installs = "PostgreSQL 15 is not installed; scripts/test --install fetches it"
        pytest.skip(installs if apt_has("postgresql-15") else MAY_BE_MISSING)
    with running_server(FIFTEEN) as server:
        make_template(server)
        yield server


def apt_has(package: str) -> bool:
    asked = ["apt-cache", "show", "--no-all-versions", package]
    return bool(shutil.which("apt-cache")) and not subprocess.call(
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
