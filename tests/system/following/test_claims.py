"""Workers and their leases: one owner for each deployment, and targets that compare no fences.

F22, F23. `SHIPSLOG_TEST_MOMENTS=all`: the paused worker stops at each of its moments.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import psycopg
import pytest

from shipslog.api.client import Client
from shipslog.api.wire.shapes import Status
from shipslog.domain.event import Fence, Recorded
from tests.adapters.platforms.unfenced.target import recorded
from tests.invariants import violations

from ..apart.cluster import Cluster
from ..documents import Document, environment, pipeline
from ..installation import define, ended, request
from .family import Child, Family, Nursery
from .marked import APPENDING, ASSURING, DONE, NOWHERE, RECORD, SENDING
from .writing import LAB, until

IS_FULL = os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all"
MOMENTS = [SENDING, DONE, APPENDING] if IS_FULL else [SENDING]
EFFECTS = {ASSURING: 0, SENDING: 1, DONE: 1, APPENDING: 1}
"""How often the target has been changed by who was paused there, and then went on."""
WORKERS = 10
JOURNAL, GO = "journal", "go"

pytestmark = pytest.mark.system


async def test_of_ten_workers_that_start_together_one_owns_each_deployment(
    cluster: Cluster, nursery: Nursery
) -> None:
    # F23
    # No lease ends for an hour: who takes over has been handed it.
    cluster.environment["SHIPSLOG_LEASE"] = "1h"
    with Family(cluster, nursery) as family:
        server = await asyncio.to_thread(family.serve)
        names = [f"service-{n}" for n in range(WORKERS)]
        async with family.client(server) as client:
            await define(client, environment(LAB), *(noting(n, cluster.folder) for n in names))
            asked = [(await request(client, n, "1.0.0", LAB))["id"] for n in names]
            workers = [family.begin("worker") for _ in names]
            await until(lambda: len(journal(cluster)) == len(asked))
            before = owners(cluster)
            assert len({token for _, token in before.values()}) == len(asked)
            for worker in workers:
                await asyncio.to_thread(worker.ready)
            leaving = workers[::2]
            codes = await asyncio.gather(*(asyncio.to_thread(one.end) for one in leaving))
            assert set(codes) == {0}
            await until(lambda: are_owned(cluster, workers[1::2], asked))
            (cluster.folder / GO).touch()
            assert {status["status"] for status in await ended(client, asked)} == {"succeeded"}
    assert sorted(journal(cluster)) == sorted(f"{one}/note/1" for one in asked)
    log = cluster.log()
    for one in asked:
        first = before[f"deployment:{one}"][1]
        assert fences(log, one) == sorted(fences(log, one))
        assert fences(log, one)[0].token == first
    assert not violations(log)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_target_that_compares_nothing_is_changed_once_also_by_one_who_was_paused(
    cluster: Cluster, nursery: Nursery, moment: str
) -> None:
    # F22: what holds the paused one back is its own deadline, and in the window the agent
    cluster.environment["SHIPSLOG_LEASE"] = "2s"
    (cluster.folder / GO).touch()
    mark = {"at": moment, "do": "stop", "armed": str(cluster.folder / GO)}
    with Family(cluster, nursery) as family:
        server = await asyncio.to_thread(family.serve)
        async with family.client(server) as client:
            await define(client, environment(LAB), noting("web", cluster.folder))
            asked = (await request(client, "web", "1.0.0", LAB))["id"]
            paused = family.begin("worker", mark=mark)
            await until(lambda: paused.is_stopped)
            said = len(paused.said)
            await asyncio.to_thread(family.work)
            (status,) = await ended(client, [asked])
            assert status["status"] == "succeeded"
            log = cluster.log()
            paused.send(signal.SIGCONT)
            await until(lambda: "lease" in paused.said[said:])
            assert await asyncio.to_thread(paused.end) == 0
    assert journal(cluster) == [f"{asked}/note/1"]
    after = cluster.log()
    assert [e.position for e in after] == [e.position for e in log]
    assert len({fence.token for fence in fences(log, asked)}) > 1
    assert not violations(after)


@pytest.mark.parametrize("moment", EFFECTS if IS_FULL else [ASSURING, DONE])
async def test_what_nobody_can_know_is_asked_of_an_operator_and_done_no_second_time(
    cluster: Cluster, nursery: Nursery, moment: str
) -> None:
    # F22 at a target of fence class none. `SENDING` is the window that it leaves open: the lease
    # was made sure of, and what is sent then comes late; but it comes once.
    record = cluster.folder / "record"
    cluster.environment |= {"SHIPSLOG_LEASE": "2s", RECORD: str(record)}
    (cluster.folder / GO).touch()
    mark = {"at": moment, "do": "stop", "armed": str(cluster.folder / GO)}
    with Family(cluster, nursery) as family:
        server = await asyncio.to_thread(family.serve)
        async with family.client(server) as client:
            await define(client, environment(LAB), noting("web", cluster.folder))
            paused = family.begin("worker", mark=mark)
            waiting = asyncio.create_task(
                asyncio.to_thread(cluster.run, "deploy", "web", "1.0.0", LAB, "--wait", "--json")
            )
            await until(lambda: paused.is_stopped)
            said = len(paused.said)
            await asyncio.to_thread(family.work, NOWHERE)
            waited = await waiting
            status: Status = json.loads(waited.stdout)
            assert (waited.returncode, status["status"]) == (3, "needs_operator"), waited.stderr
            assert [wait["kind"] for wait in status["waiting_on"]] == ["operator"]
            paused.send(signal.SIGCONT)
            await until(lambda: "lease" in paused.said[said:])
            assert await asyncio.to_thread(paused.end) == 0
            assert [one.key for one in recorded(record)] == (
                [f"{status['id']}/note/1"] * EFFECTS[moment]
            )
            await decide(client, status, moment)
    before = [f"{status['id']}/note/1"] * EFFECTS[moment]
    after = [f"{status['id']}/note/2"] if moment == ASSURING else []
    assert journal(cluster) == [one.key for one in recorded(record)] == before + after
    assert len({fence.token for fence in fences(cluster.log(), status["id"])}) > 1
    assert not violations(cluster.log())


async def decide(client: Client, status: Status, moment: str) -> None:
    """Do what an operator does who has looked: once more where nothing came, else an end."""
    action, how = ("retry", "succeeded") if moment == ASSURING else ("abort", "aborted")
    await client.act(status["id"], action, {"reason": "looked"}, key=action)
    (last,) = await ended(client, [status["id"]])
    assert last["status"] == how


def noting(name: str, folder: Path) -> Document:
    """Return a pipeline that notes its effect, whatever its fence, and waits until it may end."""
    script = (
        f'cd "$1" && echo "$SHIPSLOG_EFFECT_KEY" >> {JOURNAL}; '
        f"while [ ! -e {GO} ]; do sleep 0.05; done"
    )
    return pipeline(name, {"name": "note", "run": ["sh", "-c", script, "note", str(folder)]})


def journal(cluster: Cluster) -> list[str]:
    """Return the effects that were noted."""
    file = cluster.folder / JOURNAL
    return file.read_text().splitlines() if file.exists() else []


def owners(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Return owner and token of every stream that is owned."""
    query = "SELECT stream, owner, token FROM shipslog.work WHERE owner IS NOT NULL"
    with psycopg.connect(cluster.url) as connection:
        return {stream: (owner, token) for stream, owner, token in connection.execute(query)}


def are_owned(cluster: Cluster, workers: list[Child], deployments: list[str]) -> bool:
    """Say whether these deployments all have owners among these workers."""
    found = owners(cluster)
    names = {worker.name for worker in workers}
    return {f"deployment:{one}" for one in deployments} <= found.keys() and (
        {owner for owner, _ in found.values()} <= names
    )


def fences(log: list[Recorded], deployment: str) -> list[Fence]:
    """Return the fences under which a deployment's events were written, in the log's order."""
    mine = [event.header for event in log if event.header.deployment == deployment]
    return [Fence.parse(header.fence) for header in mine if header.fence]
