"""Many workers on one PostgreSQL, whatever becomes of them: nothing is lost, nothing doubled.

The full size: `SHIPSLOG_TEST_DEPLOYMENTS=500 SHIPSLOG_TEST_SECONDS=60`. There takeovers are held to
their time too; in the gate, on a machine that may have anything else to do, they are only told.
"""

import asyncio
import os
import sys
import time

import pytest

from .cluster import LEASE_SECONDS, Cluster
from .crowd import at_work, busiest, name_of, nothing_is_lost_or_doubled, settled
from .owners import Owners

DEPLOYMENTS = int(os.environ.get("SHIPSLOG_TEST_DEPLOYMENTS") or 60)
SECONDS = float(os.environ.get("SHIPSLOG_TEST_SECONDS") or 12)
IS_FULL = "SHIPSLOG_TEST_SECONDS" in os.environ
WORKERS = 4
KILL_EVERY_SECONDS = 2.0
TAKEOVER_SECONDS = LEASE_SECONDS + 2

pytestmark = pytest.mark.system


async def test_workers_that_are_killed_one_after_the_other_lose_and_double_nothing(
    cluster: Cluster,
) -> None:
    crowd = await at_work(cluster, WORKERS, DEPLOYMENTS, wait=f"{SECONDS * 100:.0f}ms")
    killed: dict[str, float] = {}
    starting: list[asyncio.Task[object]] = []
    async with Owners(cluster.url) as owners:
        begun = time.monotonic()
        while time.monotonic() < begun + SECONDS:
            victim = await busiest(cluster, owners)
            killed[name_of(victim)] = time.monotonic()
            victim.kill()
            starting.append(asyncio.create_task(asyncio.to_thread(cluster.start, "worker")))
            await asyncio.sleep(KILL_EVERY_SECONDS)
        await asyncio.gather(*starting)
        await settled(cluster, owners)
        late = takeovers(owners, killed)
    sys.stderr.write(f"{len(killed)} workers killed, takeovers after {late} s\n")
    await nothing_is_lost_or_doubled(cluster, crowd)
    assert not IS_FULL or max(late) <= TAKEOVER_SECONDS


def takeovers(owners: Owners, killed: dict[str, float]) -> list[float]:
    """Return for how many seconds the dead were still named as owners."""
    held = ((owners.held_until(name), at) for name, at in killed.items())
    return [round(until - at, 1) if until and until > at else 0.0 for until, at in held]
