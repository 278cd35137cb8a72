"""A crowd of deployments, all asked for at once, and what must be so when all have ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tomllib
from collections import Counter
from random import Random

from shipslog.adapters.store.postgres.store import PostgresStore
from tests.invariants import ENDINGS

from ..crashing.conditions import eventually
from ..crashing.documents import ENVIRONMENT
from ..crashing.evidence import Evidence
from ..crashing.operators import Operators
from ..documents import environment
from ..installation import define
from .cluster import Cluster
from .owners import Owners
from .recorder import JOURNAL, STAGES, recording

DEEP = 5
"""Deployments of each service, one behind the other."""
SETTLE_SECONDS = 120.0


async def at_work(cluster: Cluster, workers: int, deployments: int, wait: str) -> Operators:
    """Define services, start a server and workers, and ask for all deployments at once."""
    names = [f"service-{n}" for n in range(deployments // DEEP)]
    await asyncio.to_thread(cluster.start_all, workers)
    async with cluster.client() as client:
        await define(client, environment(ENVIRONMENT))
        await define(client, *(recording(name, cluster.folder, wait) for name in names))
    stored = tomllib.loads((cluster.folder / "config/shipslog/config.toml").read_text())
    people = Operators(stored["url"], stored["token"], Random(1))  # noqa: S311 - no secret
    wished = [people.deploy(name, f"1.0.{n}") for n in range(DEEP) for name in names]
    await asyncio.gather(*wished)
    return people


def name_of(worker: subprocess.Popen[str]) -> str:
    """Return by which name the store knows a worker."""
    return f"{os.uname().nodename}:{worker.pid}"


async def busiest(cluster: Cluster, owners: Owners) -> subprocess.Popen[str]:
    """Return the worker that has the most deployments, once one has any."""
    found: list[subprocess.Popen[str]] = []

    async def is_at_work() -> bool:
        found[:] = [p for p in cluster.processes if p.poll() is None and owners.now[name_of(p)]]
        return bool(found)

    assert await eventually(is_at_work, SETTLE_SECONDS), cluster.said("worker")[-4000:]
    return max(found, key=lambda worker: owners.now[name_of(worker)])


async def settled(cluster: Cluster, owners: Owners) -> None:
    """Wait until every deployment has come to its end."""

    async def is_settled() -> bool:
        return owners.left == 0

    assert await eventually(is_settled, SETTLE_SECONDS), cluster.said("worker")[-4000:]


async def nothing_is_lost_or_doubled(cluster: Cluster, people: Operators) -> None:
    """Compare the log with the world, and with what people were told."""
    archive = await PostgresStore.read_only(cluster.url)
    try:
        assert await asyncio.to_thread(lambda: list(archive.log.verify())) == []
    finally:
        await archive.close()
    evidence = Evidence(cluster.log(), {"stages": cluster.folder / JOURNAL})
    answered = list(people.answered.values())
    assert not [*evidence.faults(), *evidence.lost(answered), *people.strange]
    ended = Counter(e.header.topic for e in evidence.log if e.header.topic in ENDINGS)
    assert ended == {"deployment.succeeded": len(answered)}
    assert evidence.started == STAGES * len(answered)
    checked = await asyncio.to_thread(cluster.run, "replay", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
