"""Stages and services at their worst: each fault has the end that it is said to have."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shipslog.api.client import new_key

from .crashing import faulty, processes
from .crashing.faults import (
    LAB,
    asking,
    commands,
    memory,
    redeployed,
    said_of,
    seconds_of,
    service,
    until,
    watched,
)
from .crashing.users import RATE, Users
from .documents import environment
from .installation import (
    Installation,
    define,
    deployed,
    ended,
    free_address,
    free_addresses,
    request,
)

CHECK_SECONDS, ATTEMPTS = 4.0, 3
GONE_SECONDS = 5.0
GRACE_SECONDS = 2.0
SLACK_SECONDS = 3.0
"""For a machine that is busy with something else."""
MIB = 1024 * 1024
FORKING = """
import os, subprocess, sys, time
if not os.fork():
    os.setsid()
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
    os._exit(0)
time.sleep(600)
"""

pytestmark = pytest.mark.system


@pytest.fixture
def source(tmp_path: Path) -> str:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(faulty.__file__, folder)
    return str(folder)


async def test_a_check_is_judged_by_its_deadline_alone(
    installation: Installation, source: str
) -> None:
    # F27: the first attempt may come before the service listens, the second amid a busy moment.
    patience = asking(timeout=f"{CHECK_SECONDS:g}s", interval="1s", attempts=ATTEMPTS)
    faults = {f"{how}-{n}": (how, n) for how in ("slow", "drip") for n in (9, 11, 100)}
    routes = dict(zip([*faults, "flood"], free_addresses(len(faults) + 1), strict=True))
    async with installation.client() as client:
        await define(client, environment(LAB, **routes))
        for name, (how, tenths) in faults.items():
            seconds = str(CHECK_SECONDS * tenths / 10)
            await define(client, service(name, source, how, seconds, health=patience))
        await define(client, service("flood", source, "flood", health=patience))
        asked = [await request(client, name, "1.0.0", LAB) for name in routes]
        done = await ended(client, [status["id"] for status in asked])
    for name, status in zip(routes, done, strict=True):
        passes = name.endswith("-9") or name == "flood"
        assert status["status"] == ("succeeded" if passes else "failed"), (name, status)
        took = seconds_of(status, "deploy.health")
        assert took < ATTEMPTS * (CHECK_SECONDS + 1) + SLACK_SECONDS, (name, took)
        assert passes or "no whole answer within 4 s" in said_of(status, "deploy.health")


async def test_a_command_that_ignores_sigterm_is_killed_and_lets_go_of_its_target(
    installation: Installation,
) -> None:
    # F29
    deaf = commands(
        "deaf", "sh", "-c", "trap '' TERM; echo begun; while :; do sleep 1; done", timeout="1s"
    )
    async with installation.client() as client:
        await define(client, environment(LAB), deaf)
        first = await request(client, "deaf", "1.0.0", LAB)
        second = await request(client, "deaf", "2.0.0", LAB)
        hung, after = await ended(client, [first["id"], second["id"]])
        assert (await client.output(hung["id"], "work")).strip() == b"begun"
    for status in (hung, after):
        assert status["status"] == "failed"
        assert "did not end within 1 s" in said_of(status, "work")
        assert 1 <= seconds_of(status, "work") < 1 + GRACE_SECONDS + SLACK_SECONDS


async def test_a_flood_is_cut_and_fills_nobody_s_memory(installation: Installation) -> None:
    # F31
    flood = commands("flood", "yes", "0123456789" * 10, timeout="4s")
    most: dict[str, int] = {}
    async with installation.client() as client:
        await define(client, environment(LAB), commands("calm", "true"), flood)
        assert (await deployed(client, "calm", "1.0.0", LAB))["status"] == "succeeded"
        before = memory(installation)
        asked = await request(client, "flood", "1.0.0", LAB)
        ending = asyncio.create_task(ended(client, [asked["id"]]))
        while not ending.done():
            most = {name: max(now, most.get(name, 0)) for name, now in memory(installation).items()}
            await asyncio.wait([ending], timeout=0.05)
        (status,) = await ending
        output = await client.output(asked["id"], "work")
    assert status["status"] == "failed"
    assert "Only the beginning of what it printed is kept" in said_of(status, "work")
    assert len(output) == MIB
    assert not {name: most[name] for name, then in before.items() if most[name] - then > 16 * MIB}


async def test_no_child_of_a_stage_outlives_it(installation: Installation) -> None:
    # F30
    mark = "left-behind-by-a-stage"
    async with installation.client() as client:
        await define(client, environment(LAB), commands("work", "python", "-c", FORKING, mark))
        first = await request(client, "work", "1.0.0", LAB)
        await until(lambda: processes.those_that_say(f"sleep(600) {mark}"))
        await client.act(first["id"], "abort", {}, key=new_key())
        (aborted,) = await ended(client, [first["id"]])
        assert aborted["status"] == "aborted"
        assert not processes.those_that_say(mark)
        second = await request(client, "work", "2.0.0", LAB)
        await until(lambda: processes.those_that_say(f"sleep(600) {mark}"))
        await agent_dies(installation, mark)
        (lost,) = await ended(client, [second["id"]])
        assert lost["status"] == "failed"
        assert "lost with the agent" in said_of(lost, "work")


async def test_no_child_of_an_instance_outlives_it(installation: Installation, source: str) -> None:
    # F30
    mark = "left-behind-by-an-instance"
    async with installation.client() as client:
        web = service("web", source, "forks", mark)
        await define(client, environment(LAB, web=free_address()), web)
        assert (await deployed(client, "web", "1.0.0", LAB))["status"] == "succeeded"
        first = processes.those_that_say(f"sleep(600) {mark}")
        assert (await deployed(client, "web", "2.0.0", LAB))["status"] == "succeeded"
        second = processes.those_that_say(f"sleep(600) {mark}")
        assert (len(first), len(second)) == (1, 1)
        assert first.isdisjoint(second)
        await agent_dies(installation, mark)
        await until(lambda: processes.those_that_say(f"sleep(600) {mark}"))
    installation.end()
    assert not processes.those_that_say(mark)


async def agent_dies(installation: Installation, mark: str) -> None:
    """Kill the agent, and see that what says the mark goes with it."""
    marked, agent = processes.those_that_say(mark), processes.agent_of(installation.data)
    assert agent
    processes.kill(agent)
    assert not await asyncio.to_thread(processes.are_gone, marked, GONE_SECONDS)


async def test_what_cannot_start_or_ends_before_its_switch_costs_no_request(
    installation: Installation, source: str
) -> None:
    users = free_address()
    async with installation.client() as client:
        await define(client, environment(LAB, web=users), service("web", source))
        assert (await deployed(client, "web", "1.0.0", LAB))["status"] == "succeeded"
        async with Users(users) as load:
            absent = service("web", source, command=["no-such-program", "{port}"])
            absent_one = await redeployed(client, absent)
            early_one = await redeployed(client, service("web", source, "ends", "0.5"))
    assert (absent_one["status"], early_one["status"]) == ("failed", "failed")
    assert "no-such-program" in said_of(absent_one, "deploy.start")
    assert "exit code 7, it is over" in said_of(early_one, "deploy.health")
    assert not load.faults


async def test_what_ends_while_it_is_watched_gives_way_to_the_old_version_at_once(
    installation: Installation, source: str
) -> None:
    users = free_address()
    late = service("web", source, "ends-well", "2", strategy=watched("60s"))
    async with installation.client() as client:
        await define(client, environment(LAB, web=users), service("web", source))
        assert (await deployed(client, "web", "1.0.0", LAB))["status"] == "succeeded"
        async with Users(users) as load:
            ended_one = await redeployed(client, late)
            await until_served(load)
    assert ended_one["status"] == "rolled_back"
    assert "exit code 7, it is over" in said_of(ended_one, "deploy.monitor")
    assert seconds_of_faults(load) < 1 + SLACK_SECONDS


async def test_wrong_answers_to_users_bring_the_old_version_back_at_once(
    installation: Installation, source: str
) -> None:
    users = free_address()
    strategy = watched("60s", max_error_share="5%", min_requests=20)
    async with installation.client() as client:
        await define(client, environment(LAB, web=users), service("web", source))
        assert (await deployed(client, "web", "1.0.0", LAB))["status"] == "succeeded"
        async with Users(users) as load:
            wrong = await redeployed(client, service("web", source, "wrong", strategy=strategy))
            await until_served(load)
    assert wrong["status"] == "rolled_back"
    assert "requests failed" in said_of(wrong, "deploy.monitor")
    assert seconds_of(wrong, "deploy.monitor") < 20 / RATE + SLACK_SECONDS
    assert {visit.fault for visit in load.faults} == {"500 b''"}
    assert seconds_of_faults(load) < 1 + SLACK_SECONDS


async def until_served(load: Users) -> None:
    begun = datetime.now(UTC)
    await until(lambda: load.served_after(begun))


def seconds_of_faults(load: Users) -> float:
    """Return how long users have had faults, from the first to the last."""
    if not load.faults:
        return 0.0
    lasted = max(v.ended for v in load.faults) - min(v.sent for v in load.faults)
    return lasted.total_seconds()
