"""A server over the real store and read models, in a folder of its own; without a worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .served import Served, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path) as running:
        yield running


@pytest.fixture
async def defined(served: Served) -> Served:
    """The server, with an environment and a pipeline to deploy."""
    await served.define()
    return served
