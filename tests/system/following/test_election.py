"""Of several servers one moves the read models; whatever becomes of it, another takes over.

F3, F44. `SHIPSLOG_TEST_MOMENTS=all`: at many batches, and stopped for as long as it really takes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import NamedTuple

import pytest

from shipslog.domain.ledger import Receipt
from shipslog.projections.follower.postgres import schema

from ..apart.cluster import Cluster
from ..crashing.conditions import eventually
from .family import SOON_SECONDS, Child, Family, Mark, Nursery
from .marked import COMMITTED, MOVED, WRITTEN
from .writing import People, people_at, reading, require_exact_rows, shown

IS_FULL = os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all"
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
MOMENTS = [*KILLED, *STOPPED, *LATER] if IS_FULL else [*KILLED[:2], STOPPED[0]]


async def test_wherever_it_dies_or_stops_another_goes_on_and_every_row_is_exact(
    cluster: Cluster, nursery: Nursery
) -> None:
    # F3
    with Family(cluster, nursery) as family:
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
    cluster: Cluster, nursery: Nursery
) -> None:
    # F44
    with Family(cluster, nursery) as family:
        servers = [await asyncio.to_thread(family.serve) for _ in range(3)]
        async with people_at(cluster) as people:
            last = servers[-1]
            await shown(family, last, await people.ask())
            async with reading(family, last, people.first) as statuses:
                for old in servers[:-1]:
                    ending = asyncio.create_task(asyncio.to_thread(old.end))
                    receipt = await people.ask()
                    await shown(family, last, receipt)
                    assert await ending == 0
            assert set(statuses) == {200}
            await shown(family, last, await people.ask())
            await require_exact_rows(cluster, cluster.folder)


async def serve(family: Family, n: int) -> Child:
    """Bring up a server that the n-th moment is to befall, if there is one."""
    mark: Mark | None = None
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
    assert await asyncio.to_thread(stopped.end) == 0


async def _is_told(server: Child) -> bool:
    return "follower_failed" in server.said
