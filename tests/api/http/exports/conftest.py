"""A server with a few deployments in its log."""

import pytest

from ..served import Served


@pytest.fixture
async def told(defined: Served) -> Served:
    for _ in range(3):
        await defined.deploy(reason='=HYPERLINK("http://evil.example")')
    return defined
