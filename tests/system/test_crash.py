"""Whatever is killed at whatever moment: the service answers, and the log tells the truth (F4).

`SHIPSLOG_TEST_KILLS=200` kills as often as the list of faults asks for.
"""

import asyncio
import os
import secrets
import sys
from collections import Counter
from pathlib import Path

import pytest

from .crashing.storm import Storm, schedule
from .installation import Installation

KILLS = int(os.environ.get("SHIPSLOG_TEST_KILLS") or 50)
FOLDERS, AT_ONCE = 5, 2
SEED = int(os.environ.get("SHIPSLOG_TEST_SEED") or secrets.randbelow(1_000_000))

pytestmark = pytest.mark.system


async def test_kills_break_no_promise(tmp_path: Path) -> None:
    sys.stderr.write(f"SHIPSLOG_TEST_SEED={SEED} makes the same schedule\n")
    turns = asyncio.Semaphore(AT_ONCE)

    async def weathered(number: int) -> Storm:
        async with turns:
            return await weather(tmp_path / str(number), f"{SEED}/{number}")

    storms = await asyncio.gather(*map(weathered, range(FOLDERS)))
    assert sum(storm.kills for storm in storms) >= KILLS
    struck = sum((storm.struck for storm in storms), Counter[str]())
    sys.stderr.write(f"struck: {dict(struck.most_common())}\n")
    assert not [fault for storm in storms for fault in storm.faults]


async def weather(folder: Path, seed: str) -> Storm:
    installation = Installation(folder)
    storm = Storm(installation, folder, schedule(seed))
    try:
        await storm.rage(KILLS // FOLDERS)
    finally:
        await asyncio.to_thread(installation.end)
    return storm
