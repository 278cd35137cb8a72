"""Many deployments at once: each to its end, none behind another that hangs."""

import asyncio
from collections import Counter

import pytest

from .documents import Document, environment, pipeline
from .installation import Installation, define, ended, free_addresses, request

MANY = 100
HANGS_SECONDS = 30
LISTENS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""

pytestmark = pytest.mark.system


async def test_a_hundred_targets_at_once_and_one_that_hangs_delays_none(
    installation: Installation,
) -> None:
    names = [f"service-{n}" for n in range(MANY)]
    routes = dict(zip(names, free_addresses(MANY), strict=True))
    hang = {"name": "hang", "run": ["sleep", "600"], "timeout": f"{HANGS_SECONDS}s"}
    async with installation.client() as client:
        await define(client, environment("fleet", **routes), pipeline("hanging", hang))
        await define(client, *map(listening, names))
        asked = await asyncio.gather(
            *(request(client, name, "1.0.0", "fleet") for name in ["hanging", *names])
        )
        hung, *others = await ended(client, [status["id"] for status in asked])
    assert Counter(status["status"] for status in others) == {"succeeded": MANY}
    assert hung["status"] == "failed"
    assert f"did not end within {HANGS_SECONDS} s" in str(hung["stages"][0]["message"])
    # Instants in UTC and of one length compare as texts.
    assert max(str(status["completed_at"]) for status in others) < str(hung["completed_at"])


def listening(name: str) -> Document:
    rollout = {
        "command": ["python", "-I", "-S", "-c", LISTENS, "{port}"],
        "strategy": {"kind": "blue_green", "monitor": "0s"},
        "health": {"checks": [{"tcp": True}], "interval": "100ms", "attempts": 200},
    }
    build = {"name": "build", "run": ["echo", "{version}"]}
    return pipeline(name, build, {"name": "deploy", "needs": ["build"], "deploy": rollout})
