"""An agent of its own for each test, ended with everything it keeps, however the test ends."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shipslog.adapters.platforms.processes import control
from shipslog.adapters.platforms.processes.platform import ProcessesPlatform, stop_agent
from shipslog.domain.errors import PlatformUnavailableError

from .ground import Ground, eventually


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    data = tmp_path / "data"
    yield data
    try:
        await stop_agent(data)
    except PlatformUnavailableError:
        os.kill(agent_of(data), signal.SIGKILL)
        raise


@pytest.fixture
def ground(data: Path, tmp_path: Path) -> Ground:
    return Ground(ProcessesPlatform(data), tmp_path)


async def kill_agent(data: Path) -> None:
    """End the agent in the way that leaves it nothing to do."""
    os.kill(agent_of(data), signal.SIGKILL)

    async def nobody_listens() -> bool:
        connection = await control.connect(socket_of(data))
        if connection:
            connection[1].close()
        return connection is None

    await eventually(nobody_listens)


def socket_of(data: Path) -> Path:
    return Path((data / "agent" / "socket").read_text())


def agent_of(data: Path) -> int:
    """Return the process id of a data folder's agent."""
    return int((data / "agent" / "lock").read_text())
