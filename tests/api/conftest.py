"""What tests of the command line share: a stand-in for the server, and a home of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .run_cli import Cli
from .stand_in import StandIn


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with StandIn() as standing:
        yield standing


@pytest.fixture
async def cli(stand_in: StandIn, tmp_path: Path) -> AsyncIterator[Cli]:
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "SHIPSLOG_URL": stand_in.url,
        "SHIPSLOG_TOKEN": "token",
    }
    running = Cli(environ)
    yield running
    await running.close()
