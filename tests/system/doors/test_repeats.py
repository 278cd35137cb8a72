"""A command that comes a thousand times is carried out once, and always answered the same (F33).

`SHIPSLOG_TEST_REPEATS=1000` sends each as often as the list of faults asks for.
"""

import asyncio
import json
import os
import secrets

import pytest

from ..installation import Installation
from .asking import Desk, Reply, Request, desk, faults_of, log_of, written_by

REPEATS = int(os.environ.get("SHIPSLOG_TEST_REPEATS") or 40)
AT_ONCE = 16

pytestmark = pytest.mark.system


async def test_a_command_that_comes_again_and_again_is_carried_out_once(here: Installation) -> None:
    # F33
    mark = secrets.token_hex(4)
    async with desk(here) as people:
        commands = await people.commands(mark)
        before = len(log_of(here.data))
        replies = {kind: await repeated(people, request) for kind, request in commands.items()}
    log = log_of(here.data)
    for kind, request in commands.items():
        assert len(replies[kind]) == 1, replies[kind]
        (reply,) = replies[kind]
        assert reply.status in {201, 202}, (kind, reply)
        events = written_by(log, request)
        assert [event.position for event in events] == list(
            range(events[0].position, events[0].position + len(events))
        )
        assert events[0].position > before
        assert str(events[-1].position) == reply.position, kind
        assert reply.location == location_of(request, reply), kind
    assert not faults_of(here.data)


async def repeated(people: Desk, request: Request) -> set[Reply]:
    """Send a command over many connections at once, and return all different answers."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def once() -> Reply:
        async with turns:
            return await people.send(request)

    return set(await asyncio.gather(*(once() for _ in range(REPEATS))))


def location_of(request: Request, reply: Reply) -> str:
    if request.method == "PUT":
        return request.path
    return f"/v1/deployments/{json.loads(reply.body)['id']}"
