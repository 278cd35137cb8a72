"""Several workers: one owns each deployment, whatever happens to the others."""

import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from shipslog.domain.event import Fence, Recorded
from tests.invariants import violations

from ..crashing.conditions import soon
from ..crashing.processes import Process, agent_of, descendants, kill
from ..documents import Document, environment, pipeline, web
from ..installation import define, deployed, ended, free_address, request
from .cluster import SOON_SECONDS, Cluster, stop

JOURNALS = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
with (folder / "journal").open("a") as journal:
    journal.write(f"{os.environ['SHIPSLOG_EFFECT_KEY']} {os.environ['SHIPSLOG_FENCE']}\\n")
while not (folder / "go").exists():
    time.sleep(0.05)
"""

pytestmark = pytest.mark.system


def gated(folder: Path) -> Document:
    """Return a pipeline whose stages write down that they run, and wait until they may end."""
    run = ["python", "-c", JOURNALS, str(folder)]
    return pipeline("lab", {"name": "first", "run": run}, second(run))


def second(run: list[str]) -> Document:
    return {"name": "second", "run": run, "needs": ["first"]}


def journal(cluster: Cluster) -> list[str]:
    path = cluster.folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


async def at_work(cluster: Cluster) -> tuple[str, subprocess.Popen[str]]:
    """Return a deployment whose first stage runs, and its worker."""
    async with cluster.client() as client:
        await define(client, environment("staging"), gated(cluster.folder))
        asked = await request(client, "lab", "1.0.0", "staging")
    assert soon(lambda: journal(cluster), SOON_SECONDS)
    return asked["id"], cluster.owner(asked["id"])


async def end_of(cluster: Cluster, deployment: str) -> str:
    """Let the stages end, and return how the deployment did."""
    (cluster.folder / "go").touch()
    async with cluster.client() as client:
        (last,) = await ended(client, [deployment])
    return last["status"]


def fences(log: list[Recorded]) -> list[Fence]:
    """Return the fences of what workers wrote, in the log's order."""
    return [Fence.parse(event.header.fence) for event in log if event.header.fence]


async def test_a_killed_worker_is_followed_by_another_and_nothing_is_done_twice(
    cluster: Cluster,
) -> None:
    cluster.start_all(2)
    deployment, owner = await at_work(cluster)
    owner.kill()
    assert soon(lambda: cluster.owner(deployment) is not owner, SOON_SECONDS)
    assert await end_of(cluster, deployment) == "succeeded"
    started = [line.split()[0] for line in journal(cluster)]
    assert started == [f"{deployment}/{stage}/1" for stage in ("first", "second")]
    assert not violations(cluster.log())


async def test_a_worker_that_is_told_to_end_hands_over_at_once(cluster: Cluster) -> None:
    cluster.environment["SHIPSLOG_LEASE"] = "1h"
    cluster.start_all(2)
    deployment, owner = await at_work(cluster)
    owner.terminate()
    # No lease ends for an hour: only what was given back can be taken.
    assert soon(lambda: cluster.owner(deployment) is not owner, SOON_SECONDS)
    owner.communicate(timeout=SOON_SECONDS)
    assert owner.returncode == 0
    assert await end_of(cluster, deployment) == "succeeded"
    assert len(journal(cluster)) == 2
    assert not violations(cluster.log())


async def test_a_worker_that_stood_still_beyond_its_lease_changes_nothing_afterwards(
    cluster: Cluster,
) -> None:
    cluster.start_all(2)
    deployment, owner = await at_work(cluster)
    stop(owner)
    assert soon(lambda: cluster.owner(deployment) is not owner, SOON_SECONDS)
    before, gone = len(cluster.log()), cluster.said("worker")
    # Its command ends while it stands still: it wakes with a result that is not its any more.
    (cluster.folder / "go").touch()
    assert await end_of(cluster, deployment) == "succeeded"
    log, journaled = cluster.log(), journal(cluster)
    owner.send_signal(signal.SIGCONT)
    assert soon(lambda: "lease" in cluster.said("worker")[len(gone) :], SOON_SECONDS)
    async with cluster.client() as client:
        assert (await deployed(client, "lab", "2.0.0", "staging"))["status"] == "succeeded"
    assert journal(cluster)[: len(journaled)] == journaled
    assert len(journal(cluster)) == 4
    assert positions(cluster.log(), deployment) == positions(log, deployment)
    assert len({fence.token for fence in fences(log[before:])}) == 1
    assert fences(cluster.log()) == sorted(fences(cluster.log()))
    assert not violations(cluster.log())


async def test_of_two_workers_one_restores_an_instance_that_died(cluster: Cluster) -> None:
    cluster.start_all(2)
    async with cluster.client() as client:
        await define(client, environment("staging", web=free_address()), web())
        assert (await deployed(client, "web", "1.0.0", "staging"))["status"] == "succeeded"
        for restorations in (1, 2):
            (instance,) = instances(cluster)
            kill(instance)
            assert soon(partial(is_restored, cluster, restorations), SOON_SECONDS)
            assert soon(partial(runs_another, cluster, instance), SOON_SECONDS)
        # Another deployment's fence is above those of the restorations, and passes.
        assert (await deployed(client, "web", "2.0.0", "staging"))["status"] == "succeeded"
    assert topics(cluster)["target.restored"] == 2
    assert fences(cluster.log()) == sorted(fences(cluster.log()))
    assert not violations(cluster.log())


def positions(log: list[Recorded], deployment: str) -> list[int]:
    return [event.position for event in log if event.header.deployment == deployment]


def is_restored(cluster: Cluster, times: int) -> bool:
    return topics(cluster)["target.restored"] >= times


def runs_another(cluster: Cluster, one: Process) -> bool:
    return bool(instances(cluster) - {one})


def instances(cluster: Cluster) -> set[Process]:
    """Return the processes of the service that run."""
    agent = agent_of(cluster.data)
    below = descendants(agent.pid) if agent else set[Process]()
    return {one for one in below if one.is_running and arguments(one)[1:2] == ["server.py"]}


def arguments(one: Process) -> list[str]:
    path = Path(f"/proc/{one.pid}/cmdline")
    return path.read_text().split("\0") if path.exists() else []


def topics(cluster: Cluster) -> Counter[str]:
    return Counter(recorded.header.topic for recorded in cluster.log())
