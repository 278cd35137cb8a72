# pyright: reportPrivateUsage=false
"""Handing over in order: a worker that is told to end leaves nothing half sent."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from shipslog.api.worker.guard import GuardedPlatform
from shipslog.api.worker.leases import Leases, Tenure
from shipslog.domain.deployment import Status
from shipslog.domain.errors import FenceLostError
from shipslog.domain.event import Fence
from shipslog.domain.ports import Effect, EffectKey, Launch, RevisionSpec, Route

from .machine import Machine
from .room import TARGET, Room
from .test_leases import Queue, Watch
from .test_takeover import reached

NEVER = datetime(2100, 1, 1, tzinfo=UTC)
EFFECT = Effect(EffectKey("d", "s", 1), TARGET, Fence(1, 1), NEVER)
LAUNCH = Launch(("serve",), {}, "d", {})
CHANGES: dict[str, Callable[[GuardedPlatform], Awaitable[Any]]] = {
    "prepare": lambda platform: platform.prepare(EFFECT, "d", None),
    "run": lambda platform: platform.run(EFFECT, LAUNCH),
    "stop": lambda platform: platform.stop(EFFECT),
    "start": lambda platform: platform.start(EFFECT, RevisionSpec("r", "1.0.0", LAUNCH, 1)),
    "route": lambda platform: platform.route(EFFECT, Route("127.0.0.1:1", {"r": 10_000})),
    "retire": lambda platform: platform.retire(EFFECT, "r", 0.0),
}
GO_ON_BY_THEMSELVES = {"run", "retire"}


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def tenure(watch: Watch) -> Tenure:
    (tenure,) = await Leases("me", Queue(), 15.0, watch).claim(1)
    return tenure


@pytest.mark.parametrize("verb", CHANGES)
async def test_whose_lease_has_ended_changes_nothing(
    watch: Watch, tenure: Tenure, verb: str
) -> None:
    machine = Machine()
    gate = machine.gate(verb)
    watch.pass_by(13)
    with pytest.raises(FenceLostError):
        await CHANGES[verb](GuardedPlatform(machine, tenure))
    assert not gate.reached.is_set()


@pytest.mark.parametrize("verb", CHANGES)
async def test_who_leaves_waits_for_the_change_under_way(tenure: Tenure, verb: str) -> None:
    machine = Machine()
    guarded = GuardedPlatform(machine, tenure)
    gate = machine.gate(verb)
    changing = asyncio.ensure_future(CHANGES[verb](guarded))
    await gate.reached.wait()
    quiet = asyncio.create_task(guarded.quiet())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert quiet.done() == (verb in GO_ON_BY_THEMSELVES)
    gate.opened.set()
    await quiet
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)


@pytest.mark.parametrize("verb", CHANGES)
async def test_who_leaves_begins_no_change(tenure: Tenure, verb: str) -> None:
    machine = Machine()
    guarded = GuardedPlatform(machine, tenure)
    await guarded.quiet()
    gate = machine.gate(verb)
    changing = asyncio.ensure_future(CHANGES[verb](guarded))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not gate.reached.is_set()
    changing.cancel()
    assert isinstance(
        (await asyncio.gather(changing, return_exceptions=True))[0], asyncio.CancelledError
    )


@pytest.mark.parametrize("verb", ["prepare", "start", "route"])
async def test_a_worker_that_is_told_to_end_gives_back_between_two_changes(
    room: Room, verb: str
) -> None:
    name = await reached(room, verb, "before")
    draining = asyncio.create_task(room.worker.drain(60))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not draining.done()
    assert room.ledger.owners
    room.machine.open()
    await draining
    assert not room.ledger.owners
    head = await room.ledger.head()
    await room.worker._claim()
    assert room.worker.owned == 0
    assert await room.ledger.head() == head
    await room.take_over()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert set(room.machine.started.values()) == {1}


async def test_a_command_goes_on_while_its_worker_ends(room: Room) -> None:
    name = await reached(room, "build", "before")
    await room.worker.drain(60)
    assert not room.ledger.owners
    await room.take_over()
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert set(room.machine.started.values()) == {1}


async def test_what_does_not_come_to_an_end_is_given_back_all_the_same(room: Room) -> None:
    name = await reached(room, "start", "before")
    await room.worker.drain(0.05)
    assert not room.ledger.owners
    await room.take_over()
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
