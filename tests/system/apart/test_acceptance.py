"""A log that went back and is accepted: services answer through it, and what is late is refused.

The log goes back as it does where an older copy of its database takes its place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest

from shipslog.adapters.platforms.processes.platform import ProcessesPlatform
from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.domain.errors import FenceRefusedError
from shipslog.domain.event import Fence
from shipslog.domain.ports import Effect, EffectKey, Route
from tests.databases import administer
from tests.invariants import violations

from ..crashing import processes
from ..crashing.conditions import eventually, soon
from ..crashing.users import Users
from ..documents import environment, web
from ..installation import define, deployed, free_address
from .cluster import END_SECONDS, SOON_SECONDS, Cluster

SAID = "The log has lost events that were seen"
TARGET = "staging/web"
OLDER = "older_copy"

pytestmark = pytest.mark.system


@contextmanager
def older_copy(server: PostgresServer, cluster: Cluster) -> Generator[str]:
    """Copy the database as it is now, nobody being connected to it."""
    name = urlsplit(cluster.url).path.removeprefix("/")
    administer(server, f"CREATE DATABASE {OLDER} TEMPLATE {name}")
    try:
        yield server.url(OLDER)
    finally:
        cluster.end()
        administer(server, f"DROP DATABASE {OLDER} WITH (FORCE)")


def stop_all(cluster: Cluster) -> None:
    """End servers and workers; the agent lives on."""
    for process in cluster.processes:
        process.terminate()
        process.communicate(timeout=END_SECONDS)
    cluster.processes.clear()


async def test_an_agent_hears_of_an_acceptance_and_its_services_answer_through_it(
    server: PostgresServer, cluster: Cluster
) -> None:
    address = free_address()
    await asyncio.to_thread(cluster.start_all, 1)
    async with cluster.client() as client:
        await define(client, environment("staging", web=address), web())
        assert (await deployed(client, "web", "1.0.0", "staging"))["status"] == "succeeded"
    await asyncio.to_thread(stop_all, cluster)
    with older_copy(server, cluster) as older:
        await asyncio.to_thread(cluster.start_all, 1)
        async with cluster.client() as client:
            for version in ("2.0.0", "2.0.1"):
                status = await deployed(client, "web", version, "staging")
                assert status["status"] == "succeeded"
        await asyncio.to_thread(stop_all, cluster)
        late = last_fence(cluster)
        agent = processes.agent_of(cluster.data)
        cluster.url = cluster.environment["SHIPSLOG_DATABASE_URL"] = older
        async with Users(address) as users:
            refused = await asyncio.to_thread(cluster.run, "worker")
            assert (refused.returncode, SAID in refused.stderr) == (1, True)
            accepted = await asyncio.to_thread(cluster.run, "db", "accept", "--json")
            told = json.loads(accepted.stdout)
            assert (accepted.returncode, SAID in told["lost"], "agent" in told) == (0, True, False)
            # Before anybody else has come: a worker that had stood still since before.
            await refuses(ProcessesPlatform(cluster.data), late)
            await asyncio.to_thread(cluster.start_all, 1)
            await answers(address, "1.0.0")
            async with cluster.client() as client:
                status = await deployed(client, "web", "1.1.0", "staging")
                assert status["status"] == "succeeded"
            await answers(address, "1.1.0")
        assert users.visits
        assert users.faults == []
        assert last_fence(cluster) < late
        await refuses(ProcessesPlatform(cluster.data), late)
        assert processes.agent_of(cluster.data) == agent
        assert soon(lambda: not processes.those_that_say("--version 2.0.1"), SOON_SECONDS)
        assert not violations(cluster.log())


async def refuses(old: ProcessesPlatform, late: Fence) -> None:
    """Let one who has not heard of it try what it had the right to."""
    with pytest.raises(FenceRefusedError, match="an operator has accepted another"):
        await old.announce(TARGET, late)
    route, deadline = Route("127.0.0.1:1", {}), datetime.now(UTC) + timedelta(seconds=10)
    effect = Effect(EffectKey("late", "switch", 1), TARGET, late, deadline)
    with pytest.raises(FenceRefusedError):
        await old.route(effect, route)
    assert await old.routed(TARGET) != route


async def answers(address: str, version: str) -> None:
    """Wait until a version answers the service's users."""
    async with aiohttp.ClientSession() as session:

        async def is_it() -> bool:
            async with session.get(f"http://{address}/") as answer:
                return version in await answer.text()

        assert await eventually(is_it, SOON_SECONDS)


def last_fence(cluster: Cluster) -> Fence:
    """Return the highest fence that the log tells of."""
    return max(Fence.parse(event.header.fence) for event in cluster.log() if event.header.fence)
