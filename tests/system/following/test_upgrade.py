"""Two builds at once: what an older one cannot read it leaves alone, and reports.

F37, F38. `SHIPSLOG_TEST_MOMENTS=all`: the upgrade is killed at every statement, not at some.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from http import HTTPStatus
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from shipslog.api.client import Client
from shipslog.api.wire.shapes import Status

from ..apart.cluster import Cluster
from ..crashing.conditions import eventually
from ..documents import Document, environment, pipeline
from ..installation import define, deployed, request
from .family import SOON_SECONDS, Child, Family, Nursery
from .marked import STATEMENT
from .writing import LAB, people_at, reading, shown, until

IS_FULL = os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all"
STEP = 1 if IS_FULL else 29
"""A migration is killed at each so many statements."""
GO = "go"
OTHER = pipeline("other", {"name": "say", "run": ["true"]})
COMPLAINT = "does not know deployment.started in version 2"

pytestmark = pytest.mark.system


async def test_an_upgrade_that_is_killed_again_and_again_is_completed_while_the_old_build_reads(
    cluster: Cluster, nursery: Nursery, newer: Nursery
) -> None:
    # F38
    with Family(cluster, nursery) as old, Family(cluster, newer) as new:
        server = await asyncio.to_thread(old.serve)
        async with people_at(cluster) as people:
            await shown(old, server, await people.ask())
            async with reading(old, server, people.first) as statuses:
                killed = await asyncio.to_thread(upgraded, new)
                assert ends_well(new, "db", "check")
                # From now on another moves the rows; this one still reads them.
                successor = await asyncio.to_thread(new.serve)
                await shown(new, successor, await people.ask())
            assert set(statuses) == {200}
            assert killed
            assert await asyncio.to_thread(server.end) == 0
            await shown(new, successor, await people.ask())
            assert ends_well(new, "replay", "--check")


def upgraded(new: Family) -> int:
    """Upgrade until it is done, killed each time some statements later; return how often."""
    armed = new.cluster.folder / "armed"
    armed.touch()
    for killed in count():
        mark = {"at": STATEMENT, "do": "kill", "armed": str(armed), "number": 1 + killed * STEP}
        upgrade = new.begin("db", "upgrade", mark=mark)
        if upgrade.ended() == 0:
            sys.stderr.write(f"an upgrade was killed {killed} times\n")
            return killed
        assert upgrade.returncode == -signal.SIGKILL, upgrade.last_said
    raise AssertionError


def ends_well(family: Family, *verb: str) -> bool:
    """Say whether a verb ends with success."""
    child = family.begin(*verb)
    assert child.ended() == 0, child.last_said
    return True


async def test_an_older_worker_leaves_alone_what_a_newer_one_wrote_and_goes_on_with_the_rest(
    cluster: Cluster, nursery: Nursery, newer: Nursery
) -> None:
    # F37, and F36: to the older server such an event is poison
    cluster.environment["SHIPSLOG_LEASE"] = "2s"
    with Family(cluster, nursery) as old, Family(cluster, newer) as new:
        server = await asyncio.to_thread(old.serve)
        first = await asyncio.to_thread(new.work)
        async with old.client(server) as client:
            await define(client, environment(LAB), gated(cluster.folder), OTHER)
            asked = await request(client, "gated", "1.0.0", LAB)
            await until(lambda: begun(cluster))
            first.send(signal.SIGKILL)
            older = await asyncio.to_thread(old.work)
            await until(lambda: COMPLAINT in older.said)
            before = stream(cluster, asked["id"])
            assert (await deployed(client, "other", "1.0.0", LAB))["status"] == "succeeded"
            assert (await stale(client, asked["id"]))["status"] != "succeeded"
            # Nor does a person get through an older door.
            assert await refused(old, server, asked["id"]) == HTTPStatus.INTERNAL_SERVER_ERROR
            assert stream(cluster, asked["id"]) == before
            # However often it has come back to it.
            assert older.said.count(COMPLAINT) == 1
            assert "Traceback" not in older.said
        await asyncio.to_thread(new.work)
        (cluster.folder / GO).touch()
        await until(lambda: stream(cluster, asked["id"])[-1] == "deployment.succeeded")
        assert len(begun(cluster)) == 1
        assert await asyncio.to_thread(ends_well, new, "db", "upgrade")
        successor = await asyncio.to_thread(new.serve)
        async with new.client(successor) as client:
            status = await client.deployment(asked["id"])
        assert (status["status"], status.get("stale_since")) == ("succeeded", None)
        assert await asyncio.to_thread(ends_well, new, "replay", "--check")


def gated(folder: Path) -> Document:
    """Return a pipeline whose stage says that it has begun, and waits until it may end."""
    script = f'echo "$SHIPSLOG_EFFECT_KEY" >> begun; while [ ! -e {GO} ]; do sleep 0.05; done'
    stage = {"name": "wait", "run": ["sh", "-c", f'cd "$1" && {script}', "wait", str(folder)]}
    return pipeline("gated", stage)


def begun(cluster: Cluster) -> list[str]:
    """Return which commands have begun."""
    file = cluster.folder / "begun"
    return file.read_text().splitlines() if file.exists() else []


def stream(cluster: Cluster, deployment: str) -> list[str]:
    """Return the topics of a deployment's events."""
    return [e.header.topic for e in cluster.log() if e.header.stream == f"deployment:{deployment}"]


async def stale(client: Client, deployment: str) -> Status:
    """Wait until a deployment's document says since when it stands still."""
    found: list[Status] = []

    async def is_stale() -> bool:
        found[:] = [await client.deployment(deployment)]
        return found[0].get("stale_since") is not None

    assert await eventually(is_stale, SOON_SECONDS), found
    return found[0]


async def refused(family: Family, server: Child, deployment: str) -> int:
    """Ask for the end of a deployment, and return with which status that is answered."""
    async with (
        aiohttp.ClientSession(headers=family.headers) as session,
        session.post(f"{server.name}/v1/deployments/{deployment}/abort", json={}) as answer,
    ):
        return answer.status
