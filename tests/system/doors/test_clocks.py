"""A wall clock that is set while everything runs: nothing ends early, waits long or runs back."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from shipslog.api.client import Client
from shipslog.api.verbs.following import follow
from shipslog.api.wire.shapes import Status
from shipslog.domain.event import Fence, Recorded
from tests.invariants import violations

from ..apart.cluster import Cluster
from ..crashing.faults import seconds_of
from ..documents import environment, pipeline
from ..installation import Installation, define, deployed
from .asking import log_of

HOUR = 3600.0
STEPS = (HOUR, -HOUR, 0.0, 3 * HOUR)
"""What the clock is set to, one after the other, against what it was at first."""
REST_SECONDS = 1.0
UNSTEADY = "test -e tried || { touch tried; exit 1; }"
LAB = pipeline(
    "lab",
    {"name": "rest", "wait": "1s"},
    {"name": "work", "run": ["sleep", "0.5"], "timeout": "60s", "needs": ["rest"]},
    {
        "name": "again",
        "run": ["sh", "-c", UNSTEADY],
        "needs": ["work"],
        "retry": {"attempts": 2, "backoff": "300ms"},
    },
)

pytestmark = pytest.mark.system


class WallClock:
    """The wall clock of processes that are started by `program`."""

    def __init__(self, folder: Path, ahead: float) -> None:
        self._file, self._ahead = folder / "ahead", ahead
        self._steps = cycle(STEPS)
        self._set(ahead)
        skewed = str(Path(__file__).with_name("skewed.py"))
        self.program = [sys.executable, "-P", skewed, str(self._file)]

    def step(self) -> None:
        """Set it to the next hour."""
        self._set(self._ahead + next(self._steps))

    def _set(self, ahead: float) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(str(ahead))
        draft.replace(self._file)


async def test_on_sqlite_nothing_is_early_or_late(tmp_path: Path) -> None:
    # F25: what is more, the agent's clock is another one from the beginning.
    here, clock = Installation(tmp_path), WallClock(tmp_path, -HOUR)
    here.program = clock.program
    begun = datetime.now(UTC)
    try:
        here.start()
        async with here.client() as client, stepping(client, clock):
            status = await lab_deployed(client)
    finally:
        here.end()
    require_in_time(status)
    require_steady(log_of(here.data), begun, -HOUR)


async def test_on_postgresql_leases_last_and_nothing_is_early_or_late(
    cluster: Cluster, tmp_path: Path
) -> None:
    # F25
    clock = WallClock(tmp_path, -HOUR)
    cluster.program = clock.program
    # Long enough for a busy machine, and far too short for an hour.
    cluster.environment["SHIPSLOG_LEASE"] = "60s"
    begun = datetime.now(UTC)
    cluster.start_all(1)
    async with cluster.client() as client, stepping(client, clock):
        status = await lab_deployed(client)
    require_in_time(status)
    log = cluster.log()
    require_steady(log, begun, -HOUR)
    fences = {Fence.parse(one.header.fence) for one in log if one.header.fence}
    assert len(fences) == 1, fences


@asynccontextmanager
async def stepping(client: Client, clock: WallClock) -> AsyncGenerator[None]:
    """Set the clock with each event: just when something has begun, and just when it has ended."""

    async def step() -> None:
        async with aclosing(follow(client, {}, 0)) as events:
            async for event in events:
                if event:
                    clock.step()

    task = asyncio.create_task(step())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lab_deployed(client: Client) -> Status:
    await define(client, environment("staging"), LAB)
    return await deployed(client, "lab", "1.0.0", "staging")


def require_in_time(status: Status) -> None:
    assert status["status"] == "succeeded", status
    assert [stage["attempt"] for stage in status["stages"]] == [1, 1, 2]
    assert seconds_of(status, "rest") > 0.9 * REST_SECONDS


def require_steady(log: Sequence[Recorded], begun: datetime, ahead: float) -> None:
    """Pass a log whose times are those of a clock that was never set."""
    assert not violations(log)
    # It comes slowly to what the wall clock says.
    left = timedelta(seconds=ahead)
    lasted = datetime.now(UTC) - begun
    first, last = begun + left - lasted / 10, begun + left + lasted * 1.1
    times = [at for one in log for at in (one.header.occurred_at, one.header.recorded_at)]
    assert first <= min(times)
    assert max(times) <= last
