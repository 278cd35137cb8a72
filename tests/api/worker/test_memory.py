"""What an owner has in memory is not asked for again, and what others write reaches it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from shipslog.domain.commands import AbortDeployment, DefineEnvironment, RequestDeployment
from shipslog.domain.deployment import Status
from shipslog.domain.environment import Environment
from shipslog.domain.event import Recorded
from shipslog.domain.ledger import Door
from shipslog.domain.ports import Effect, Ended, Launch
from shipslog.domain.processes.settling import current, settle
from shipslog.domain.transaction import Transaction

from .room import ALICE, LISTEN, TARGET, Room

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


async def test_who_begins_what_was_asked_for_here_asks_the_log_for_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = Counter[str](), room.ledger.stream

    async def counted(stream: str, *, after: int = 0) -> Sequence[Recorded]:
        reads[stream.partition(":")[0]] += 1
        return await read(stream, after=after)

    await room.begin(*STAGES)
    await room.deployed("1.0.0")
    gate = room.machine.gate("build")
    monkeypatch.setattr(room.ledger, "stream", counted)
    await room.deploy("1.0.1")
    async with asyncio.timeout(DEADLINE):
        await gate.reached.wait()
    # The restorer looks at targets on its own account.
    assert reads["deployment"] == reads["environment"] == 0


async def test_who_would_only_wait_asks_the_log_first(room: Room) -> None:
    await room.define(*STAGES)
    first, second = await room.deploy("1.0.0"), await room.deploy("1.0.1")
    # Elsewhere the first one is ended, and nobody here hears that the second one holds.
    door = Door(room.ledger, room.clock, room.ledger)
    await door.carry_out(AbortDeployment(deployment=first), ALICE)
    transaction = Transaction(now=room.clock.now(), actor="sub_system")
    await door.streams.into(transaction, f"deployment:{first}", f"target:{TARGET}")
    settle(transaction, *current(transaction, first))
    await room.ledger.append(transaction.append())
    room.start()
    assert (await room.end_of(second)).status is Status.SUCCEEDED


async def test_what_is_begun_rests_on_the_newest_of_everything(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[tuple[str, ...]] = []
    run = room.machine.run

    async def noted(effect: Effect, launch: Launch) -> Ended:
        paths.append(launch.path)
        return await run(effect, launch)

    monkeypatch.setattr(room.machine, "run", noted)
    await room.define(*STAGES)
    await room.ledger.door.streams.load(Environment, "environment:staging")
    # Elsewhere the environment gets another document, of which nobody here hears.
    door = Door(room.ledger, room.clock, room.ledger)
    platform = {"kind": "processes", "routes": {"web": LISTEN}, "path": ["/opt/bin"]}
    define = DefineEnvironment(name="staging", document={"platform": platform}, if_match=1)
    await door.carry_out(define, ALICE)
    request = RequestDeployment(pipeline="web", version="1.0.0", environment="staging")
    name = (await door.carry_out(request, ALICE)).stream.partition(":")[2]
    room.start()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert paths == [("/opt/bin",)] * len(STAGES)
