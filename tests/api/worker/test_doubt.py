"""A platform that promises nothing: an effect is sent once, and a person decides what follows."""

import asyncio
from typing import Any

import pytest

from shipslog.api.worker import attempt
from shipslog.domain.append import Append, Appended
from shipslog.domain.commands import AbortDeployment, RetryDeployment
from shipslog.domain.deployment import Deployment, Status
from shipslog.domain.errors import OutcomeUnknownError
from shipslog.domain.ports import Effect, Ended, FenceClass, Launch

from .room import Room
from .test_takeover import BUILD, DEPLOY, ONCE, first_revision, has_ended, is_running

CHANGES = [
    *(("run", "before"), ("build", "before"), ("run", "after")),
    *(("start", "before"), ("start", "after"), ("route", "before"), ("route", "after")),
    *(("retire", "before"), ("retire", "after")),
]
"""Where an effect may have been sent, and whether it took place is not known."""
STAGES = {"run": "build", "build": "build", "start": "deploy.start", "route": "deploy.switch"}
BUILD_ONCE = {**BUILD, "idempotent": False}


@pytest.fixture
def unbound(room: Room) -> Room:
    room.machine.fence_class = FenceClass.NONE
    return room


async def reached(room: Room, verb: str, when: str, *stages: dict[str, Any]) -> str:
    """Ask for a second version, and return its id when it stands at a place."""
    await room.begin(*(stages or (BUILD_ONCE, DEPLOY)))
    assert (await room.deployed("1.0.0")).status is Status.SUCCEEDED
    gate = room.machine.gate(verb, when)
    name = await room.deploy("2.0.0")
    async with asyncio.timeout(30):
        await gate.reached.wait()
    return name


async def asks(room: Room, name: str) -> Deployment:
    """Return a deployment as soon as an operator is needed."""

    async def is_asked() -> bool:
        return (await room.deployment(name)).status is Status.NEEDS_OPERATOR

    await room.until(is_asked)
    return await room.deployment(name)


@pytest.mark.parametrize(("verb", "when"), CHANGES)
async def test_what_another_owner_has_begun_is_not_sent_again(
    unbound: Room, verb: str, when: str
) -> None:
    name = await reached(unbound, verb, when)
    await unbound.lose_worker()
    before = [dict(unbound.machine.started), list(unbound.machine.routed_to)]
    unbound.start()
    deployment = await asks(unbound, name)
    (stage,) = deployment.unknown
    assert stage.name == STAGES.get(verb, "deploy.retire")
    assert [dict(unbound.machine.started), list(unbound.machine.routed_to)] == before
    assert (await unbound.target()).holder == name
    unbound.machine.open()
    await unbound.tell(RetryDeployment(deployment=name))
    assert (await unbound.end_of(name)).status is Status.SUCCEEDED
    assert set(unbound.machine.started.values()) == {1}
    await unbound.until(unbound.is_as_logged)


@pytest.mark.parametrize(("verb", "when"), CHANGES)
async def test_whoever_needs_no_more_of_it_takes_it_back(
    unbound: Room, verb: str, when: str
) -> None:
    name = await reached(unbound, verb, when)
    await unbound.take_over()
    await asks(unbound, name)
    unbound.machine.open()
    await unbound.tell(AbortDeployment(deployment=name))
    assert (await unbound.end_of(name)).status is Status.ABORTED
    await unbound.until(unbound.is_as_logged)
    assert (await unbound.target()).live == await first_revision(unbound)


@pytest.mark.parametrize("verb", ["prepare", "probe"])
async def test_what_only_asks_is_asked_again(unbound: Room, verb: str) -> None:
    name = await reached(unbound, verb, "before", {**BUILD, "idempotent": True}, DEPLOY)
    await unbound.take_over()
    unbound.machine.open()
    assert (await unbound.end_of(name)).status is Status.SUCCEEDED
    assert "deployment.operator_needed" not in await topics(unbound, name)


async def test_a_command_that_may_run_twice_is_run_again_as_a_try_of_its_own(unbound: Room) -> None:
    name = await reached(unbound, "build", "before", BUILD, DEPLOY)
    await unbound.take_over()
    unbound.machine.open()
    ended = await unbound.end_of(name)
    assert (ended.status, ended.attempts["build"].number) == (Status.SUCCEEDED, 2)
    assert unbound.machine.started[f"{name}/build/1"] == 1
    assert unbound.machine.started[f"{name}/build/2"] == 1


async def test_what_was_not_answered_is_not_sent_again(unbound: Room) -> None:
    await unbound.begin(ONCE)
    gate = unbound.machine.gate("once")
    name = await unbound.deploy("1.0.0")
    await gate.reached.wait()
    unbound.machine.die()
    deployment = await asks(unbound, name)
    message = deployment.attempts["once"].message
    assert message == "The platform cannot be reached: it died. It may have been done all the same."
    await unbound.tell(RetryDeployment(deployment=name))
    assert (await unbound.end_of(name)).status is Status.SUCCEEDED
    assert unbound.machine.started == {f"{name}/once/1": 1, f"{name}/once/2": 1}


async def test_what_does_not_end_in_time_is_not_taken_for_failed(
    unbound: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE_SECONDS", 0.1)
    await unbound.begin({**ONCE, "timeout": "200ms", "retry": {"attempts": 3}})
    gate = unbound.machine.gate("once")
    name = await unbound.deploy("1.0.0")
    await gate.reached.wait()
    deployment = await asks(unbound, name)
    assert deployment.attempts["once"].message == "It did not end within 0.2 s."
    assert deployment.attempts["once"].number == 1


async def test_what_is_cancelled_is_not_asked_how_it_ended(unbound: Room) -> None:
    name = await reached(unbound, "build", "before")
    run, asked = unbound.machine.run, list[str]()

    async def counted(effect: Effect, launch: Launch) -> Ended:
        asked.append(str(effect.key))
        return await run(effect, launch)

    unbound.machine.run = counted  # type: ignore[method-assign]
    await unbound.tell(AbortDeployment(deployment=name))
    assert (await unbound.end_of(name)).status is Status.ABORTED
    assert asked == [], "it was running already, and whoever asks starts it again"


async def test_a_worker_that_is_told_to_end_sees_to_the_end_what_it_has_begun(
    unbound: Room,
) -> None:
    name = await reached(unbound, "build", "before")
    draining = asyncio.create_task(unbound.worker.drain(5))
    await asyncio.sleep(0)
    unbound.machine.open()
    await draining
    deployment = await unbound.deployment(name)
    assert deployment.attempts.keys() == {"build"}, "nothing more is begun"
    assert deployment.attempts["build"].status == "succeeded"
    await unbound.take_over()
    assert (await unbound.end_of(name)).status is Status.SUCCEEDED
    assert "deployment.operator_needed" not in await topics(unbound, name)


async def test_a_worker_that_cannot_wait_any_longer_leaves_it_to_an_operator(
    unbound: Room,
) -> None:
    name = await reached(unbound, "build", "before")
    await unbound.worker.drain(0.05)
    await unbound.take_over()
    await asks(unbound, name)
    assert unbound.machine.started[f"{name}/build/1"] == 1


async def test_an_abort_reaches_who_is_about_to_leave(unbound: Room) -> None:
    name = await reached(unbound, "build", "before")
    draining = asyncio.create_task(unbound.worker.drain(5))
    await asyncio.sleep(0)
    await unbound.tell(AbortDeployment(deployment=name))
    await unbound.until(lambda: has_ended(unbound, name, "build"))
    await draining
    await unbound.take_over()
    assert (await unbound.end_of(name)).status is Status.ABORTED


async def test_an_owner_of_the_same_process_and_token_does_not_take_it_for_its_own(
    unbound: Room,
) -> None:
    name = await reached(unbound, "run", "after")
    store, failed = unbound.ledger.append, asyncio.Event()

    async def failing(append: Append) -> Appended:
        if append.lease and not failed.is_set():
            failed.set()
            raise ZeroDivisionError
        return await store(append)

    unbound.ledger.append = failing  # type: ignore[method-assign]
    token = unbound.ledger.token
    # Its owner fails over what it has to record, and the worker claims the deployment anew.
    unbound.machine.open()
    await failed.wait()
    await asks(unbound, name)
    assert unbound.ledger.token == token
    assert unbound.machine.started[f"{name}/build/1"] == 1


async def test_an_intent_of_which_it_was_not_known_whether_it_is_stored_is_its_own(
    unbound: Room,
) -> None:
    store, unknown = unbound.ledger.append, asyncio.Event()

    async def forgetful(append: Append) -> Appended:
        appended = await store(append)
        if append.lease and not unknown.is_set():
            unknown.set()
            raise OutcomeUnknownError
        return appended

    unbound.ledger.append = forgetful  # type: ignore[method-assign]
    await unbound.begin(ONCE)
    assert (await unbound.deployed("1.0.0")).status is Status.SUCCEEDED
    assert unknown.is_set()


async def test_what_is_gone_is_not_started_again_by_itself(unbound: Room) -> None:
    await unbound.begin(BUILD, DEPLOY)
    ended = await unbound.deployed("1.0.0")
    starts = len(unbound.machine.keys)
    unbound.machine.lose("staging/web", f"{ended.id}.1")
    name = await unbound.deploy("2.0.0")
    await unbound.until(lambda: is_running(unbound, name, "deploy.monitor"))
    assert "target.restored" not in await unbound.topics()
    assert len(unbound.machine.keys) == starts + 2


async def topics(room: Room, name: str) -> list[str]:
    events = await room.ledger.stream(f"deployment:{name}")
    return [event.header.topic for event in events]
