"""Takeovers and deaths in the middle of everything: each deployment goes on or is undone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from shipslog.domain.append import Append, Appended
from shipslog.domain.commands import AbortDeployment
from shipslog.domain.deployment import StageStatus, Status
from shipslog.domain.errors import BusyError, OutcomeUnknownError, OverloadedError, RetryableError
from shipslog.domain.event import Recorded
from shipslog.domain.target import Revision

from .room import TARGET, Room

BUILD: dict[str, Any] = {"name": "build", "run": ["make"], "idempotent": True}
ONCE: dict[str, Any] = {"name": "once", "run": ["migrate"]}
DEPLOY: dict[str, Any] = {
    "name": "deploy",
    "needs": ["build"],
    "deploy": {
        "command": ["serve", "{port}"],
        "capacity": 2,
        "strategy": {"kind": "blue_green", "monitor": "1s"},
        "health": {"checks": [{"http": "/"}], "interval": "100ms", "attempts": 3},
    },
}
MOMENTS = [
    *(("prepare", "before"), ("run", "before"), ("build", "before"), ("run", "after")),
    *(("start", "before"), ("start", "after"), ("probe", "before")),
    *(("route", "before"), ("route", "after"), ("retire", "before"), ("retire", "after")),
]


async def reached(room: Room, verb: str, when: str) -> str:
    """Ask for a second version, and return its id when it stands at a place."""
    await room.begin(BUILD, DEPLOY)
    assert (await room.deployed("1.0.0")).status is Status.SUCCEEDED
    gate = room.machine.gate(verb, when)
    name = await room.deploy("2.0.0")
    async with asyncio.timeout(30):
        await gate.reached.wait()
    return name


@pytest.mark.parametrize(("verb", "when"), MOMENTS)
async def test_a_takeover_in_the_middle_costs_nothing(room: Room, verb: str, when: str) -> None:
    name = await reached(room, verb, when)
    await room.take_over()
    room.machine.open()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert set(room.machine.started.values()) == {1}
    await room.until(room.is_as_logged)


@pytest.mark.parametrize(("verb", "when"), MOMENTS)
async def test_an_abort_in_the_middle_is_carried_out_by_the_next_owner(
    room: Room, verb: str, when: str
) -> None:
    name = await reached(room, verb, when)
    await room.lose_worker()
    await room.tell(AbortDeployment(deployment=name))
    room.start()
    room.machine.open()
    assert (await room.end_of(name)).status is Status.ABORTED
    await room.until(room.is_as_logged)
    assert (await room.target()).live == (await first_revision(room))


@pytest.mark.parametrize(("verb", "when"), MOMENTS)
async def test_an_abort_in_the_middle_is_carried_out(room: Room, verb: str, when: str) -> None:
    name = await reached(room, verb, when)
    await room.tell(AbortDeployment(deployment=name))
    stage = (await room.deployment(name)).running[0].name
    await room.until(lambda: has_ended(room, name, stage))
    room.machine.open()
    assert (await room.end_of(name)).status is Status.ABORTED
    await room.until(room.is_as_logged)


@pytest.mark.parametrize(("verb", "when"), MOMENTS)
@pytest.mark.parametrize("both", [False, True])
async def test_the_platform_s_death_in_the_middle_is_survived(
    room: Room, verb: str, when: str, *, both: bool
) -> None:
    name = await reached(room, verb, when)
    if both:
        await room.lose_worker()
    room.machine.die()
    if both:
        room.start()
    assert (await room.end_of(name)).is_final
    await room.until(room.is_as_logged)
    assert max(room.machine.started.values()) == 1


async def test_a_run_that_is_lost_is_done_again_only_where_it_may_be(room: Room) -> None:
    await room.begin(BUILD, ONCE)
    gates = [room.machine.gate("build"), room.machine.gate("once")]
    name = await room.deploy("1.0.0")
    for gate in gates:
        await gate.reached.wait()
    room.machine.die()
    ended = await room.end_of(name)
    assert ended.status is Status.FAILED
    assert ended.attempts["once"].number == 1
    assert ended.attempts["once"].status == "errored"
    assert set(room.machine.started.values()) == {1}


async def test_a_death_while_it_is_undone_leaves_the_old_revision_live(room: Room) -> None:
    await room.begin(BUILD, DEPLOY)
    await room.deployed("1.0.0")
    before = await first_revision(room)
    gate = room.machine.gate("retire")
    name = await room.deploy("2.0.0")
    await gate.reached.wait()
    back = room.machine.gate("route")
    await room.tell(AbortDeployment(deployment=name))
    await back.reached.wait()
    room.machine.die()
    assert (await room.end_of(name)).status is Status.ABORTED
    await room.until(room.is_as_logged)
    assert (await room.target()).live == before
    assert (TARGET, f"{name}.1") not in room.machine.fleets


async def test_what_an_undoing_brought_back_is_recorded_also_by_its_next_owner(
    room: Room,
) -> None:
    await room.begin(BUILD, DEPLOY)
    await room.deployed("1.0.0")
    name = await room.deploy("2.0.0")
    await room.until(lambda: is_running(room, name, "deploy.monitor"))
    room.machine.die()
    started = room.machine.gate("start", "after")
    await started.reached.wait()
    assert (await room.deployment(name)).has_status("deploy.undo_switch", StageStatus.RUNNING)
    await room.take_over()
    room.machine.open()
    assert (await room.end_of(name)).status is Status.ROLLED_BACK
    assert "target.restored" in await room.topics()
    await room.until(room.is_as_logged)


async def test_the_way_back_to_what_runs_needs_no_secret(room: Room) -> None:
    with_secret = {**DEPLOY, "env": {"PASSWORD": {"secret": "env:PASSWORD"}}}
    await room.begin(BUILD, with_secret)
    await room.deployed("1.0.0")
    name = await room.deploy("2.0.0")
    await room.until(lambda: is_running(room, name, "deploy.monitor"))
    room.secrets.is_lost = True
    room.machine.sick.add(f"{name}.1")
    assert (await room.end_of(name)).status is Status.ROLLED_BACK
    await room.until(room.is_as_logged)


async def test_a_watch_that_nobody_kept_is_not_believed(room: Room) -> None:
    await room.begin(BUILD, DEPLOY)
    await room.deployed("1.0.0")
    name = await room.deploy("2.0.0")
    await room.until(lambda: is_running(room, name, "deploy.monitor"))
    await room.lose_worker()
    room.machine.sick.add(f"{name}.1")
    await room.clock.sleep(3)
    room.start()
    assert (await room.end_of(name)).status is Status.ROLLED_BACK
    await room.until(room.is_as_logged)


@pytest.mark.parametrize(("missed", "status"), [(2, Status.SUCCEEDED), (4, Status.ROLLED_BACK)])
async def test_one_failed_round_of_checks_may_be_the_network(
    room: Room, missed: int, status: Status
) -> None:
    # Long enough for a few rounds also where the machine is busy.
    strategy = {**DEPLOY["deploy"]["strategy"], "monitor": "20s"}
    await room.begin(BUILD, {**DEPLOY, "deploy": {**DEPLOY["deploy"], "strategy": strategy}})
    await room.deployed("1.0.0")
    name = await room.deploy("2.0.0")
    await room.until(lambda: is_running(room, name, "deploy.monitor"))
    # Each of the two instances is asked once a round.
    room.machine.missed = missed
    assert (await room.end_of(name)).status is status


async def test_an_outcome_whose_append_is_refused_is_told_again(room: Room) -> None:
    await room.begin(BUILD, DEPLOY)
    gate = room.machine.gate("start", "after")
    name = await room.deploy("1.0.0")
    await gate.reached.wait()
    # The stream moves on between the try's end and what its owner writes of it.
    store, appending = room.ledger.append, asyncio.Event()

    async def overtaken(append: Append) -> Appended:
        if append.lease and not appending.is_set():
            appending.set()
            await room.tell(AbortDeployment(deployment=name))
        return await store(append)

    room.ledger.append = overtaken  # type: ignore[method-assign]
    room.machine.open()
    ended = await room.end_of(name)
    assert appending.is_set()
    assert ended.status is Status.ABORTED
    assert ended.attempts["deploy.start"].status == "succeeded"
    assert room.machine.fleets == {}


@pytest.mark.parametrize("why", [BusyError, OutcomeUnknownError])
async def test_an_append_that_may_work_later_is_made_by_the_same_owner(
    room: Room, why: type[RetryableError]
) -> None:
    await room.begin(BUILD)
    store, refused = room.ledger.append, asyncio.Event()

    async def failing(append: Append) -> Appended:
        if append.lease and not refused.is_set():
            refused.set()
            raise why
        return await store(append)

    room.ledger.append = failing  # type: ignore[method-assign]
    with capture_logs() as said:
        assert (await room.deployed("1.0.0")).status is Status.SUCCEEDED
    assert refused.is_set()
    assert [line for line in said if line["event"] == "owner_failed"] == []


async def test_a_log_that_cannot_be_read_for_a_while_costs_no_worker(room: Room) -> None:
    await room.begin(BUILD, DEPLOY)
    await room.deployed("1.0.0")
    read, refused = room.ledger.page, asyncio.Event()

    async def away(*, after: int, limit: int) -> Sequence[Recorded]:
        if refused.is_set():
            return await read(after=after, limit=limit)
        refused.set()
        raise OverloadedError

    room.ledger.page = away  # type: ignore[method-assign]
    name = await room.deploy("2.0.0")
    await refused.wait()
    assert (await room.end_of(name)).status is Status.SUCCEEDED
    assert (await room.deployed("3.0.0")).status is Status.SUCCEEDED


async def first_revision(room: Room) -> Revision:
    target = await room.target()
    return target.revisions[target.healthy[0]]


async def is_running(room: Room, name: str, stage: str) -> bool:
    return (await room.deployment(name)).has_status(stage, StageStatus.RUNNING)


async def has_ended(room: Room, name: str, stage: str) -> bool:
    return not (await room.deployment(name)).has_status(stage, StageStatus.RUNNING)
