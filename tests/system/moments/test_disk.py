"""A disk that is full, or that fails when it is to keep something: nothing is told that is lost."""

import asyncio
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from ..crashing.conditions import eventually
from ..crashing.disks import fill, free, small_disk
from ..crashing.documents import CHORES, documents
from ..crashing.evidence import DataFolder
from ..crashing.operators import Operators
from ..installation import SHIPSLOG, Installation, define, free_address
from .people import SETTLE_SECONDS, is_settled, operators

WISHES = 200
"""So many at most, until there is no room left for another."""
FAILS_AT = range(3, 30)
"""The sync of a thread that fails, and all after it."""

pytestmark = pytest.mark.system


async def test_on_a_full_disk_nothing_is_promised_and_it_passes(tmp_path: Path) -> None:
    # F16
    with small_disk(tmp_path / "disk", "8m") as disk:
        async with installed(tmp_path, disk / "data") as (here, people):
            for time in range(2):
                fill(disk)
                refused = await until_refused(people, f"1.{time}")
                free(disk)
                await people.deploy(CHORES, refused)
                assert await eventually(lambda: is_settled(people), SETTLE_SECONDS)
            assert not [*await people.repeat(WISHES), *people.strange]
            assert '"status":503' in here.log.read_text()
            await nothing_is_lost(here, tmp_path, people)


async def test_after_a_sync_that_failed_nothing_is_written_and_the_server_ends(
    tmp_path: Path,
) -> None:
    # F17
    if not shutil.which("strace"):
        pytest.skip("strace is not installed; scripts/test --install fetches it")
    fails_at = secrets.choice(FAILS_AT)
    sys.stderr.write(f"the sync number {fails_at} fails\n")
    async with installed(tmp_path, tmp_path / "data") as (here, people):
        # From here on the agent is there, and is none of those whose calls fail.
        await people.deploy(CHORES, "1.0.0")
        assert await eventually(lambda: is_settled(people), SETTLE_SECONDS)
        here.stop()
        fails = f"inject=fdatasync,fsync:error=EIO:when={fails_at}+"
        here.program = ["strace", "-D", "-f", "-qq", "-o", str(tmp_path / "calls"), "-e", fails]
        here.program += ["-e", "trace=fdatasync,fsync", "--seccomp-bpf", SHIPSLOG]
        here.start()
        assert here.process
        wished = await until_ended(people, here.process)
        assert here.process.returncode == 1
        here.kill()
        here.program = [SHIPSLOG]
        here.start()
        await asyncio.wait_for(asyncio.gather(*wished), SETTLE_SECONDS)
        assert await eventually(lambda: is_settled(people), SETTLE_SECONDS)
        assert not [*await people.repeat(WISHES), *people.strange]
        await nothing_is_lost(here, tmp_path, people)


@asynccontextmanager
async def installed(folder: Path, data: Path) -> AsyncGenerator[tuple[Installation, Operators]]:
    here = Installation(folder)
    here.data = data
    here.environment["SHIPSLOG_DATA"] = str(data)
    try:
        here.start()
        async with here.client() as client:
            await define(client, *documents(folder, free_address()))
        yield here, operators(here)
    finally:
        await asyncio.to_thread(here.end)


async def until_refused(people: Operators, version: str) -> str:
    """Ask for deployments until one is not acknowledged, and return its version."""
    for number in range(WISHES):
        asked = asyncio.create_task(people.deploy(CHORES, f"{version}.{number}"))
        await asyncio.wait([asked], timeout=2)
        if not asked.done():
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            return f"{version}.{number}"
    raise AssertionError


async def until_ended(people: Operators, server: Popen[str]) -> list[asyncio.Task[str]]:
    """Ask for deployments until the server has ended, and return what was asked for.

    No count would do: how often a deployment syncs depends on which of its appends meet.
    """
    ended = asyncio.create_task(asyncio.to_thread(server.wait, SETTLE_SECONDS))
    wished: list[asyncio.Task[str]] = []
    while not ended.done():
        wished.append(asyncio.create_task(people.deploy(CHORES, f"1.1.{len(wished)}")))
        await asyncio.wait([wished[-1], ended], return_when=asyncio.FIRST_COMPLETED)
    return wished


async def nothing_is_lost(here: Installation, folder: Path, people: Operators) -> None:
    here.kill()
    evidence = await asyncio.to_thread(DataFolder, folder, here.data, "after")
    answered = [one for one in people.answered.values() if one[1].position]
    assert not [*evidence.faults_since(()), *evidence.lost(answered)]
