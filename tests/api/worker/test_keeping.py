"""What is live is kept alive: while nobody holds its target, and while somebody does."""

import asyncio
from collections.abc import Mapping
from functools import partial

import pytest

from shipslog.domain.append import Due, Lease
from shipslog.domain.commands import AbortDeployment
from shipslog.domain.deployment import Status
from shipslog.domain.errors import RetryableError
from shipslog.domain.event import Fence
from shipslog.domain.ports import Route, Traffic

from .machine import Gate
from .room import LISTEN, TARGET, Room
from .test_takeover import BUILD, DEPLOY, first_revision

RESTORED = "target.restored"


async def first_version(room: Room) -> str:
    """Deploy a version and return the name of its revision."""
    await room.begin(BUILD, DEPLOY)
    assert (await room.deployed("1.0.0")).status is Status.SUCCEEDED
    return str((await first_revision(room)).id)


async def test_a_start_that_finds_everything_in_place_writes_nothing(room: Room) -> None:
    await first_version(room)
    head = await room.ledger.head()
    await room.take_over()
    await room.clock.sleep(5)
    assert await room.ledger.head() == head


async def test_what_the_platform_has_lost_is_restored(room: Room) -> None:
    await first_version(room)
    room.machine.die()
    await room.until(room.is_as_logged)
    await room.until(lambda: was_restored(room))
    assert (await room.topics()).count(RESTORED) == 1


async def test_a_target_that_could_not_be_given_back_is_given_back_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, refused = room.ledger.release, list[str]()

    async def refusing(lease: Lease, due: Due | None) -> None:
        if not refused:
            refused.append(lease.stream)
            raise RetryableError
        await release(lease, due)

    live = await first_version(room)
    monkeypatch.setattr(room.ledger, "release", refusing)
    for times in (1, 2):
        room.machine.lose(TARGET, live)
        await room.until(room.is_as_logged)
        await room.until(partial(was_restored_so_often, room, times))
    assert refused == [f"target:{TARGET}"]


async def was_restored_so_often(room: Room, times: int) -> bool:
    return (await room.topics()).count(RESTORED) == times


async def test_an_instance_that_ended_is_replaced(room: Room) -> None:
    live = await first_version(room)
    room.machine.lose(TARGET, live)
    await room.until(room.is_as_logged)
    await room.until(lambda: was_restored(room))


async def test_what_ends_again_and_again_is_restored_ever_more_slowly(room: Room) -> None:
    live = await first_version(room)
    begun = room.clock.now()
    for _ in range(4):
        room.machine.lose(TARGET, live)
        await room.until(room.is_as_logged)
    # Pauses of 1, 2 and 4 s lie between the four.
    assert 7 <= (room.clock.now() - begun).total_seconds() < 15


async def test_what_ends_at_once_is_tried_again_and_not_called_restored(room: Room) -> None:
    live = await first_version(room)
    newest = max(one.port for one in room.machine.fleets[TARGET, live])
    room.machine.stillborn = range(newest + 1, newest + 7)
    room.machine.die()
    await room.until(room.is_as_logged)
    await room.until(lambda: was_restored(room))
    assert (await room.topics()).count(RESTORED) == 1


async def test_an_agent_that_dies_again_and_again_is_made_up_for_at_once(room: Room) -> None:
    await first_version(room)
    for _ in range(6):
        begun = room.clock.now()
        room.machine.die()
        await room.until(room.is_as_logged)
        assert (room.clock.now() - begun).total_seconds() < 5


async def test_what_is_live_is_restored_also_while_its_target_is_held(room: Room) -> None:
    live = await first_version(room)
    gate = room.machine.gate("prepare")
    name = await room.deploy("2.0.0")
    await gate.reached.wait()
    room.machine.die()
    again = room.machine.gate("build")
    await again.reached.wait()
    await room.until(room.is_as_logged)
    assert (await room.target()).holder == name
    assert room.machine.routed_to[-1] == live
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED


async def restoring_while_held(room: Room) -> tuple[str, str, Gate]:
    """Return what is live, who holds it, and the build that keeps it; a restoration waits."""
    live = await first_version(room)
    build = room.machine.gate("build")
    name = await room.deploy("2.0.0")
    await build.reached.wait()
    room.machine.die()
    build, restoring = room.machine.gate("build"), room.machine.gate("route")
    await restoring.reached.wait()
    return live, name, build


async def test_a_restoration_under_way_is_waited_for_before_requests_go_elsewhere(
    room: Room,
) -> None:
    live, name, build = await restoring_while_held(room)
    build.opened.set()
    await room.until(lambda: is_running(room, name, "deploy.switch"))
    await room.clock.sleep(5)
    assert room.machine.routed_to == [live]
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert room.machine.routed_to == [live, live, f"{name}.1"]


async def test_a_restoration_is_recorded_also_where_others_write_to_the_target(
    room: Room,
) -> None:
    await restoring_while_held(room)
    next_one = await room.deploy("3.0.0")
    room.machine.open()
    assert (await room.end_of(next_one)).status is Status.SUCCEEDED
    topics = await room.topics()
    assert topics.index("target.queued") < topics.index(RESTORED)


async def test_a_restoration_whose_record_was_lost_is_recorded_by_the_next(room: Room) -> None:
    await first_version(room)
    room.machine.die()
    restored = room.machine.gate("route", "after")
    await restored.reached.wait()
    await room.take_over()
    await room.until(lambda: was_restored(room))
    assert await room.is_as_logged()


async def test_an_owner_whom_the_platform_refuses_is_followed_by_another(room: Room) -> None:
    await first_version(room)
    room.machine.highest[TARGET] = Fence(1_000_000, 1)
    name = await room.deploy("2.0.0")
    await room.until(lambda: is_running(room, name, "build"))
    await asyncio.sleep(0.1)
    del room.machine.highest[TARGET]
    assert (await room.end_of(name)).status is Status.SUCCEEDED


async def test_an_abort_while_the_old_revision_drains_keeps_it(room: Room) -> None:
    live = await first_version(room)
    draining = room.machine.gate("retire")
    name = await room.deploy("2.0.0")
    await draining.reached.wait()
    await room.tell(AbortDeployment(deployment=name))
    assert (await room.end_of(name)).status is Status.ABORTED
    room.machine.open()
    await room.until(room.is_as_logged)
    assert room.machine.routed_to[-1] == live


async def was_restored(room: Room) -> bool:
    return RESTORED in await room.topics()


async def is_running(room: Room, name: str, stage: str) -> bool:
    return stage in {one.name for one in (await room.deployment(name)).running}


async def test_what_an_accepted_log_does_not_know_gives_way_once_what_is_live_listens(
    room: Room,
) -> None:
    live = await first_version(room)
    machine, lost = room.machine, "lost.1"

    async def traffic(target: str) -> Mapping[str, Traffic]:
        nothing = Traffic(0, 0, {}, 0, {})
        return {name: nothing for where, name in machine.fleets if where == target}

    machine.traffic = traffic  # type: ignore[method-assign]
    await room.lose_worker()
    # As the agent stands where the log has lost its end.
    machine.fleets[TARGET, lost] = machine.fleets.pop((TARGET, live))
    machine.routes[TARGET] = Route(LISTEN, {lost: 10_000})
    gate = machine.gate("probe")
    room.start()
    await gate.reached.wait()
    assert machine.routes[TARGET].weights == {lost: 10_000}, "its users are answered all the while"
    assert (TARGET, live) in machine.fleets
    machine.open()
    await room.until(room.is_as_logged)
    await room.until(lambda: was_restored(room))


async def test_what_the_holder_has_just_started_is_no_stray(room: Room) -> None:
    live = await first_version(room)
    machine = room.machine

    async def traffic(target: str) -> Mapping[str, Traffic]:
        nothing = Traffic(0, 0, {}, 0, {})
        return {name: nothing for where, name in machine.fleets if where == target}

    machine.traffic = traffic  # type: ignore[method-assign]
    gate = machine.gate("start", "after")
    name = await room.deploy("2.0.0")
    await gate.reached.wait()
    machine.lose(TARGET, live)
    await room.until(lambda: was_restored(room))
    assert (TARGET, f"{name}.1") in machine.fleets
    machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    await room.until(room.is_as_logged)
