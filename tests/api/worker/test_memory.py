"""What an owner has in memory is not asked for again, and what others write reaches it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from shipslog.domain.commands import AbortDeployment
from shipslog.domain.deployment import Status
from shipslog.domain.event import Recorded

from .room import Room

DEADLINE = 60.0
RELEASED = "target.released"
STAGES: list[dict[str, Any]] = [
    {"name": "build", "run": ["make"]},
    {"name": "test", "run": ["make", "test"], "needs": ["build"]},
    {"name": "pack", "run": ["make", "pack"], "needs": ["test"]},
]


async def test_the_log_is_asked_once_for_each_stream(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read = room.ledger.stream

    async def counted(stream: str, *, after: int = 0) -> Sequence[Recorded]:
        reads[stream.partition(":")[0]] += 1
        return await read(stream, after=after)

    await room.begin(*STAGES)
    gate = room.machine.gate("build")
    name = await room.deploy("1.0.0")
    async with asyncio.timeout(DEADLINE):
        await gate.reached.wait()
    monkeypatch.setattr(room.ledger, "stream", counted)
    gate.opened.set()
    async with asyncio.timeout(DEADLINE):
        while (page := await room.ledger.page(after=0, limit=1000))[-1].header.topic != RELEASED:
            await room.ledger.wait_beyond(len(page), DEADLINE)
    # The restorer looks at targets on its own account.
    assert reads["deployment"] == reads["environment"] == 0
    assert (await room.deployment(name)).status is Status.SUCCEEDED


async def test_an_abort_reaches_an_owner_that_waits(room: Room) -> None:
    await room.begin(*STAGES)
    gate = room.machine.gate("test")
    name = await room.deploy("1.0.0")
    async with asyncio.timeout(DEADLINE):
        await gate.reached.wait()
    await room.tell(AbortDeployment(deployment=name))
    assert (await room.end_of(name)).status is Status.ABORTED
