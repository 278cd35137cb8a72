"""A room of its own for each test, held to the invariants when the test has ended."""

from collections.abc import AsyncIterator

import pytest

from .room import Room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    assert await room.close() == []
