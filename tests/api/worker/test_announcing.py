"""Who takes a deployment over says so at the platform before it looks at anything."""

import asyncio
from datetime import UTC, datetime

import pytest

from shipslog.api.worker.guard import GuardedPlatform
from shipslog.api.worker.leases import Leases
from shipslog.domain.commands import AbortDeployment
from shipslog.domain.deployment import StageStatus, Status
from shipslog.domain.errors import FenceRefusedError, PlatformUnavailableError, StateConflictError
from shipslog.domain.event import Fence
from shipslog.domain.ports import Effect, EffectKey, Launch, RevisionSpec, Route

from .machine import Machine
from .room import LISTEN, TARGET, Room
from .test_leases import Queue
from .test_takeover import BUILD, DEPLOY, reached

NEVER = datetime(2100, 1, 1, tzinfo=UTC)
SPEC = RevisionSpec("new", "2.0.0", Launch(("serve",), {}, "d"), 1)


async def owned_effect(room: Room, name: str, stage: str) -> Effect:
    """Return the effect of a stage's first try as its present owner has it."""
    target = await room.target()
    fence = Fence(target.held_at, room.ledger.token)
    return Effect(EffectKey(name, stage, 1), TARGET, fence, NEVER)


@pytest.mark.parametrize("verb", ["prepare", "start", "route", "retire"])
async def test_after_a_takeover_the_fence_comes_before_everything_else(
    room: Room, verb: str
) -> None:
    name = await reached(room, verb, "before")
    await room.lose_worker()
    gates = [room.machine.gate(other) for other in ("prepare", "run", "start", "route", "retire")]
    announced = room.machine.gate("announce")
    room.start()
    await announced.reached.wait()
    assert not any(gate.reached.is_set() for gate in gates)
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    await room.until(room.is_as_logged)


async def test_what_an_old_owner_sends_before_that_is_found_and_after_it_refused(
    room: Room,
) -> None:
    name = await reached(room, "route", "before")
    old = await owned_effect(room, name, "deploy.switch")
    await room.lose_worker()
    announced = room.machine.gate("announce")
    room.start()
    await announced.reached.wait()
    route = Route(LISTEN, {f"{name}.1": 10_000})
    await room.machine.route(old, route)
    routing = room.machine.gate("route")
    announced.opened.set()
    await routing.reached.wait()
    with pytest.raises(FenceRefusedError):
        await room.machine.route(old, route)
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED


async def test_a_fence_that_cannot_be_announced_is_announced_later(room: Room) -> None:
    name = await reached(room, "start", "before")
    await room.lose_worker()
    announced = room.machine.gate("announce")
    room.start()
    await announced.reached.wait()
    room.machine.die()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    await room.until(room.is_as_logged)


async def test_a_fence_is_announced_once() -> None:
    (tenure,) = await Leases("me", Queue(), None).claim(1)
    machine = Machine()
    guarded = GuardedPlatform(machine, tenure)
    first = machine.gate("announce")
    together = [asyncio.create_task(guarded.announce(TARGET, Fence(9, 1))) for _ in range(3)]
    await first.reached.wait()
    machine.die()
    outcomes = await asyncio.gather(*together, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        PlatformUnavailableError,
        type(None),
        type(None),
    ]
    again = machine.gate("announce")
    await guarded.announce(TARGET, Fence(9, 1))
    assert not again.reached.is_set()


async def test_a_start_that_is_cancelled_on_its_way_is_refused_after_its_undoing(
    room: Room,
) -> None:
    await room.begin(BUILD, DEPLOY)
    await room.deployed("1.0.0")
    gate = room.machine.gate("start")
    name = await room.deploy("2.0.0")
    await gate.reached.wait()
    late = await owned_effect(room, name, "deploy.start")
    await room.tell(AbortDeployment(deployment=name))
    ended = await room.end_of(name)
    assert (ended.status, ended.attempts["deploy.start"].status) == (
        Status.ABORTED,
        StageStatus.CANCELLED,
    )
    with pytest.raises(StateConflictError, match="was stopped"):
        await room.machine.start(late, SPEC)
    await room.until(room.is_as_logged)


async def test_a_command_is_ended_also_where_the_platform_comes_back_late(room: Room) -> None:
    await room.begin(BUILD)
    running = room.machine.gate("build")
    name = await room.deploy("1.0.0")
    await running.reached.wait()
    stopping = room.machine.gate("stop")
    await room.tell(AbortDeployment(deployment=name))
    await stopping.reached.wait()
    room.machine.die()
    ended = await room.end_of(name)
    assert ended.attempts["build"].message == "It was cancelled."
    assert room.machine.started == {f"{name}/build/1": 1}
