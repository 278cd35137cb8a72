"""What lies between workers and their log goes away; nothing is lost, nothing doubled."""

import asyncio
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import cycle

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import make_template, running_server

from ..crashing.conditions import eventually
from ..crashing.operators import Operators
from .cluster import END_SECONDS, SOON_SECONDS, Cluster, stop
from .crowd import DEEP, at_work, busiest, name_of, nothing_is_lost_or_doubled, settled
from .owners import Owners
from .proxy import Proxy

MANY = 15
WAIT = "1s"
BYTES = (5_000, 20_000, 900, 60_000, 12_345, 2_500)
"""After so many to the database a connection is cut: some in the handshake's wake, some amid."""

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Give a server of this module's own, which may fall."""
    with running_server(recovery_init_sync_method="syncfs") as server:
        make_template(server)
        yield server


async def test_a_database_that_falls_again_and_again(
    cluster: Cluster, server: PostgresServer
) -> None:
    # F6
    people = await at_work(cluster, 3, MANY, WAIT)
    wished: list[asyncio.Task[str]] = []
    async with Owners(cluster.url) as owners:
        for fall in range(2):
            await busiest(cluster, owners)
            wished += wish(people, f"2.{fall}")
            await asyncio.to_thread(server.stop, "immediate")
            await asyncio.to_thread(server.start)
        await asyncio.gather(*wished)
        await settled(cluster, owners)
    await nothing_is_lost_or_doubled(cluster, people)
    assert all_live(cluster)


async def test_workers_that_stand_still_beyond_their_leases(cluster: Cluster) -> None:
    # F21: wherever each of their deployments happens to be
    people = await at_work(cluster, 3, MANY, WAIT)
    async with Owners(cluster.url) as owners:
        for _ in range(2):
            still = await busiest(cluster, owners)
            stop(still)
            await until_others_have_it(owners, still)
            still.send_signal(signal.SIGCONT)
        await settled(cluster, owners)
    await nothing_is_lost_or_doubled(cluster, people)
    assert all_live(cluster)


async def test_everything_is_told_to_end_and_started_anew_in_turn(cluster: Cluster) -> None:
    # F44
    people = await at_work(cluster, 2, MANY, WAIT)
    wished = wish(people, "2.0")
    async with Owners(cluster.url) as owners:
        for old in [*cluster.processes]:
            await asyncio.to_thread(old.send_signal, signal.SIGTERM)
            await asyncio.to_thread(old.communicate, timeout=END_SECONDS)
            assert old.returncode == 0
            is_server = old is cluster.processes[0]
            verb = ("serve", "--listen", address(cluster)) if is_server else ("worker",)
            await asyncio.to_thread(cluster.start, *verb)
        await asyncio.gather(*wished)
        await settled(cluster, owners)
    await nothing_is_lost_or_doubled(cluster, people)


async def test_a_worker_whose_database_says_nothing_any_more(cluster: Cluster) -> None:
    # F24
    async with Proxy(cluster.url) as network, Owners(cluster.url) as owners:
        cluster.environment["SHIPSLOG_DATABASE_URL"] = network.url
        behind = await asyncio.to_thread(cluster.start, "worker")
        cluster.environment["SHIPSLOG_DATABASE_URL"] = cluster.url
        people = await at_work(cluster, 1, MANY, WAIT)
        assert await eventually(lambda: has_work(owners, behind), SOON_SECONDS)
        network.swallow()
        await until_others_have_it(owners, behind)
        assert "lease_given_up" in cluster.said("worker")
        network.heal()
        await settled(cluster, owners)
    await nothing_is_lost_or_doubled(cluster, people)
    assert all_live(cluster)


async def test_a_network_that_cuts_connections_at_any_byte(cluster: Cluster) -> None:
    # F7
    async with Proxy(cluster.url) as network, Owners(cluster.url) as owners:
        cluster.environment["SHIPSLOG_DATABASE_URL"] = network.url
        people = await at_work(cluster, 2, MANY, WAIT)
        network.cut_after(cycle(BYTES))
        await network.cut()
        wished = wish(people, "2.0")
        for _ in range(8):
            await busiest(cluster, owners)
            await asyncio.sleep(0.5)
            await network.cut()
        network.heal()
        await asyncio.gather(*wished)
        await settled(cluster, owners)
        cluster.environment["SHIPSLOG_DATABASE_URL"] = cluster.url
    await nothing_is_lost_or_doubled(cluster, people)
    assert all_live(cluster)


def wish(people: Operators, version: str) -> list[asyncio.Task[str]]:
    """Ask for some deployments more, however long the answers take."""
    return [
        asyncio.create_task(people.deploy(f"service-{n}", f"{version}.{n}"))
        for n in range(MANY // DEEP)
    ]


async def until_others_have_it(owners: Owners, worker: subprocess.Popen[str]) -> None:
    """Wait until a worker is no longer named as the owner of anything."""

    async def is_nobody() -> bool:
        return not owners.now[name_of(worker)]

    assert await eventually(is_nobody, SOON_SECONDS)


async def has_work(owners: Owners, worker: subprocess.Popen[str]) -> bool:
    return owners.now[name_of(worker)] > 0


def all_live(cluster: Cluster) -> bool:
    return all(process.poll() is None for process in cluster.processes)


def address(cluster: Cluster) -> str:
    stored = tomllib.loads((cluster.folder / "config/shipslog/config.toml").read_text())
    return str(stored["url"]).removeprefix("http://")
