"""The disk of PostgreSQL is full (F15): nothing is promised, and with room all goes on again."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import SMALL, make_template

from ..crashing.conditions import eventually
from ..crashing.disks import fill, free, small_disk
from .cluster import SOON_SECONDS, Cluster
from .crowd import DEEP, at_work, busiest, nothing_is_lost_or_doubled, settled
from .owners import Owners

SIZE = "256m"
MANY, MORE = 10, 15
FULL = "No space left on device"

pytestmark = pytest.mark.system


@pytest.fixture
def disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shipslog-disk-") as folder:
        # Run by root, the server is nobody, who has to get in.
        Path(folder).chmod(0o711)
        with small_disk(Path(folder) / "small", SIZE) as disk:
            yield disk


@pytest.fixture
def server(disk: Path) -> Iterator[PostgresServer]:
    with PostgresServer(disk / "data", {**SMALL, "max_wal_size": "64MB"}) as server:
        make_template(server)
        yield server


async def test_a_full_disk_of_the_database_is_a_pause(
    cluster: Cluster, server: PostgresServer, disk: Path
) -> None:
    people = await at_work(cluster, 2, MANY, "300ms")
    async with Owners(cluster.url) as owners:
        await busiest(cluster, owners)
        fill(disk)
        names = [f"service-{n % (MANY // DEEP)}" for n in range(MORE)]
        wished = [
            asyncio.create_task(people.deploy(name, f"2.0.{n}")) for n, name in enumerate(names)
        ]

        async def is_full() -> bool:
            return FULL in server.log.read_text()

        assert await eventually(is_full, SOON_SECONDS)
        free(disk)
        if server.pid is None:  # it stops where not even its own log can be written
            await asyncio.to_thread(server.start)
        await asyncio.gather(*wished)
        await settled(cluster, owners)
    await nothing_is_lost_or_doubled(cluster, people)
    assert all(process.poll() is None for process in cluster.processes)
