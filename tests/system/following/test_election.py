"""Of several servers one moves the read models; whatever becomes of it, another takes over.

F3, F44. `SHIPSLOG_TEST_MOMENTS=all`: at many batches, and stopped for as long as it really takes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from shipslog.api.client import Client
from shipslog.api.wire.shapes import ProblemError
from shipslog.domain.ledger import Receipt
from shipslog.projections.follower.postgres import schema

from ..apart.cluster import Cluster
from ..crashing.conditions import eventually
from .family import SOON_SECONDS, Child, Family
from .marked import COMMITTED, MOVED, WRITTEN
from .writing import People, id_of, people_at, require_exact_rows

IS_FULL = os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all"
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
DEPOSE = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"  # noqa: S608
    f" AND granted AND objid = ({schema.LEADING} & 4294967295)::oid"
)

pytestmark = pytest.mark.system


class Moment(NamedTuple):
    """What befalls the one that moves the read models, where, and in which of its batches."""

    do: str
    at: str
    number: int = 1


KILLED = [Moment("kill", at) for at in (WRITTEN, MOVED, COMMITTED)]
STOPPED = [Moment("stop", at) for at in (MOVED, WRITTEN, COMMITTED)]
LATER = [Moment("kill", one.at, n) for n in range(2, 6) for one in KILLED]
MOMENTS = [*KILLED, *STOPPED, *LATER] if IS_FULL else [*KILLED, STOPPED[0]]


async def test_wherever_it_dies_or_stops_another_goes_on_and_every_row_is_exact(
    cluster: Cluster,
) -> None:
    # F3
    with Family(cluster) as family:
        leader = await serve(family, 0)
        async with people_at(cluster) as people:
            for n, moment in enumerate(MOMENTS):
                other = await serve(family, n + 1)
                async with reading(family, other, people.first) as statuses:
                    await befall(cluster, people, leader, n)
                    receipt = await people.ask()
                    await shown(family, other, receipt)
                assert set(statuses) == {200}
                await require_exact_rows(cluster, cluster.folder)
                if moment.do == "stop":
                    await resume(family, leader, await people.ask())
                    await require_exact_rows(cluster, cluster.folder)
                leader = other


async def test_one_that_is_told_to_end_hands_over_and_others_answer_all_the_while(
    cluster: Cluster,
) -> None:
    # F44
    with Family(cluster) as family:
        servers = [await asyncio.to_thread(family.serve) for _ in range(3)]
        async with people_at(cluster) as people:
            last = servers[-1]
            await shown(family, last, await people.ask())
            async with reading(family, last, people.first) as statuses:
                for old in servers[:-1]:
                    old.send(signal.SIGTERM)
                    receipt = await people.ask()
                    await shown(family, last, receipt)
                    assert await asyncio.to_thread(old.ended) == 0
            assert set(statuses) == {200}
            await shown(family, last, await people.ask())
            await require_exact_rows(cluster, cluster.folder)


async def serve(family: Family, n: int) -> Child:
    """Bring up a server that the n-th moment is to befall, if there is one."""
    mark: dict[str, Any] | None = None
    if n < len(MOMENTS):
        armed = str(family.cluster.folder / f"armed-{n}")
        mark = {**MOMENTS[n]._asdict(), "armed": armed, "brief": not IS_FULL}
    return await asyncio.to_thread(family.serve, mark)


async def befall(cluster: Cluster, people: People, leader: Child, n: int) -> None:
    """Let it be time for the n-th moment, and let the log grow until it has come."""
    (cluster.folder / f"armed-{n}").touch()

    asked_at = time.monotonic()

    async def has_come() -> bool:
        nonlocal asked_at
        await people.ask_once()
        if time.monotonic() > asked_at + PATIENCE_SECONDS:
            # The machine stood still for so long that the other one leads: it must not, yet.
            asked_at = time.monotonic()
            await asyncio.to_thread(cluster.write, DEPOSE)
        return leader.returncode is not None or leader.is_stopped

    assert await eventually(has_come, SOON_SECONDS), leader.last_said
    assert leader.returncode == (-signal.SIGKILL if MOMENTS[n].do == "kill" else None)


async def resume(family: Family, stopped: Child, receipt: Receipt) -> None:
    """Let one go on whose place was taken: it finds that out, follows, and ends in order."""
    stopped.send(signal.SIGCONT)
    assert await eventually(lambda: _is_told(stopped), SOON_SECONDS)
    await shown(family, stopped, receipt)
    stopped.send(signal.SIGTERM)
    assert await asyncio.to_thread(stopped.ended) == 0


async def _is_told(server: Child) -> bool:
    return "follower_failed" in server.said


async def shown(family: Family, server: Child, receipt: Receipt) -> None:
    """Wait until a server shows what was written."""
    async with family.client(server) as client:
        assert await eventually(lambda: is_shown(client, receipt), SOON_SECONDS), server.last_said


async def is_shown(client: Client, receipt: Receipt) -> bool:
    """Say whether a server shows what was written."""
    try:
        await client.deployment(id_of(receipt), at=receipt.position)
    except ProblemError:
        return False
    return True


@asynccontextmanager
async def reading(family: Family, server: Child, deployment: str) -> AsyncGenerator[Counter[int]]:
    """Read one deployment again and again, and count the statuses of the answers."""
    statuses: Counter[int] = Counter()
    task = asyncio.create_task(_read(family, server, deployment, statuses))
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert statuses


async def _read(family: Family, server: Child, deployment: str, statuses: Counter[int]) -> None:
    url = f"{server.name}/v1/deployments/{deployment}"
    async with aiohttp.ClientSession(headers=family.headers) as session:
        while True:
            async with session.get(url) as answer:
                await answer.read()
                statuses[answer.status] += 1
            await asyncio.sleep(PAUSE_SECONDS)
