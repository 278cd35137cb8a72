"""Killed at every boundary that a deployment passes (F1, F2, F3, F5): the log tells the truth.

`SHIPSLOG_TEST_MOMENTS=all` takes them all, a number so many of them.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from ..crashing.conditions import eventually
from ..crashing.documents import SERVICE, documents
from ..crashing.evidence import DataFolder
from ..crashing.operators import Operators
from ..installation import SHIPSLOG, Installation, define, free_address
from .database import Database
from .people import SETTLE_SECONDS, is_settled, operators

MOMENTS = os.environ.get("SHIPSLOG_TEST_MOMENTS") or "6"
SEED = int(os.environ.get("SHIPSLOG_TEST_SEED") or secrets.randbelow(1_000_000))
PASSED = "passed"
"""The file with the boundaries that the newest process has passed."""

Look = Callable[[str], DataFolder | Database]

pytestmark = pytest.mark.system


async def test_whatever_boundary_a_server_dies_at_the_next_one_goes_on(tmp_path: Path) -> None:
    here = Installation(tmp_path)
    data = here.data
    await die_at_all(here, tmp_path, lambda when: DataFolder(tmp_path, data, when))


async def die_at_all(here: Installation, folder: Path, look: Look, most: str = MOMENTS) -> None:
    """Let servers die at so many moments, one after the other, and look at what each has left."""
    sys.stderr.write(f"SHIPSLOG_TEST_SEED={SEED} takes the same moments\n")
    try:
        assert not await faults_of(here, folder, look, most)
    finally:
        await asyncio.to_thread(here.end)


async def faults_of(here: Installation, folder: Path, look: Look, most: str) -> list[str]:
    here.program = mortal(folder, 0)
    here.start()
    async with here.client() as client:
        await define(client, *documents(folder, free_address()))
    people = operators(here)
    await deployed(people, "1.0.0")
    faults = [f"{fault} (at first)" for fault in await examined(here, look, people, "first")]
    whole = len((folder / PASSED).read_text().splitlines())
    moments = chosen(whole, most)
    sys.stderr.write(f"{len(moments)} of {whole} moments\n")
    for moment in moments:
        where = await dies_at(here, folder, people, moment)
        found = await examined(here, look, people, f"moment-{moment}")
        faults += [f"{fault} (at {moment}: {where})" for fault in found]
        sys.stderr.write(f"{moment} {where}: {len(found)} faults\n")
    here.program = [SHIPSLOG]
    await asyncio.to_thread(here.start)
    await deployed(people, "1.1.0")
    faults += await people.repeat(len(people.answered))
    faults += await examined(here, look, people, "last")
    return [*faults, *people.strange]


async def dies_at(here: Installation, folder: Path, people: Operators, moment: int) -> str:
    """Let a server take over from the one before and deploy, until its moment has come."""
    (folder / PASSED).unlink(missing_ok=True)
    here.program = mortal(folder, moment)
    starting = asyncio.create_task(asyncio.to_thread(here.start))
    deploying = asyncio.create_task(deployed(people, f"1.0.{moment}"))
    # It may die before it has ever said that it is ready.
    await asyncio.gather(starting, return_exceptions=True)
    assert here.process
    dying = asyncio.create_task(asyncio.to_thread(here.process.wait))
    await asyncio.wait((dying, deploying), return_when=asyncio.FIRST_COMPLETED)
    # Where the boundaries were fewer this time, it dies now.
    await asyncio.to_thread(here.kill)
    await dying
    deploying.cancel()
    await asyncio.gather(deploying, return_exceptions=True)
    passed = folder / PASSED
    return (passed.read_text().splitlines() or ["nothing"])[-1] if passed.exists() else "nothing"


async def deployed(people: Operators, version: str) -> None:
    """Deploy, unless an earlier wish is still under way, and wait until nothing is."""

    if not await people.statuses():
        await people.deploy(SERVICE, version)
    assert await eventually(lambda: is_settled(people), SETTLE_SECONDS)


async def examined(here: Installation, look: Look, people: Operators, when: str) -> list[str]:
    """Kill what still lives, and hold what is left to the invariants and to the world."""
    await asyncio.to_thread(here.kill)
    evidence = await asyncio.to_thread(look, when)
    answered = [one for one in people.answered.values() if one[1].position]
    return [*await asyncio.to_thread(evidence.faults_since, ()), *evidence.lost(answered)]


def mortal(folder: Path, moment: int) -> list[str]:
    program = str(Path(__file__).with_name("mortal.py"))
    return [sys.executable, "-P", program, str(moment), str(folder / PASSED)]


def chosen(whole: int, most: str) -> Sequence[int]:
    if most == "all":
        return range(1, whole + 1)
    count = min(int(most), whole)
    return sorted(Random(SEED).sample(range(1, whole + 1), count))  # noqa: S311 - no secret
