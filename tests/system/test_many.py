"""Many deployments at once: each to its end, none behind another that hangs."""

import asyncio
from collections import Counter

import pytest

from .documents import environment, pipeline
from .installation import Installation, define, ended, request

MANY = 100
HANGS_SECONDS = 20.0

pytestmark = pytest.mark.system


async def test_a_hundred_finish_at_once_and_one_that_hangs_delays_none(
    installation: Installation,
) -> None:
    names = [f"service-{n}" for n in range(MANY)]
    hanging = pipeline(
        "hanging",
        {"name": "hang", "run": ["sleep", "600"], "timeout": f"{HANGS_SECONDS:.0f}s"},
    )
    async with installation.client() as client:
        await define(client, environment("fleet"), hanging, *map(two_commands, names))
        asked = await asyncio.gather(
            *(request(client, name, "1.0.0", "fleet") for name in ["hanging", *names])
        )
        hung, *others = await ended(client, [status["id"] for status in asked])
    assert Counter(status["status"] for status in others) == {"succeeded": MANY}
    assert hung["status"] == "failed"
    assert "did not end within 20 s" in str(hung["stages"][0]["message"])
    # Instants in UTC and of one length compare as texts.
    assert max(str(status["completed_at"]) for status in others) < str(hung["completed_at"])


def two_commands(name: str) -> dict[str, object]:
    return pipeline(
        name,
        {"name": "build", "run": ["true"]},
        {"name": "test", "run": ["echo", "{version}"], "needs": ["build"]},
    )
