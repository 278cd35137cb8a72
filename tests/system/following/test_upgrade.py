"""Two builds at once: what an older one cannot read it leaves alone, and reports.

F37, F38. `SHIPSLOG_TEST_MOMENTS=all`: the upgrade is killed at every statement, not at some.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import count

import pytest

from ..apart.cluster import Cluster
from .family import Family, Nursery
from .marked import STATEMENT
from .writing import people_at, reading, shown

IS_FULL = os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all"
STEP = 1 if IS_FULL else 13
"""A migration is killed at each so many statements."""

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
            assert killed > 1
            server.send(signal.SIGTERM)
            assert await asyncio.to_thread(server.ended) == 0
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
