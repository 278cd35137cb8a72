"""A client that is gone in the middle of its command: all of it is done, or nothing (F43).

`SHIPSLOG_TEST_BYTES=all` lets it be gone at every byte.
"""

import os
import secrets
from collections.abc import Sequence
from random import Random

import pytest

from ..installation import Installation
from .asking import desk, faults_of, log_of, written_by

BYTES = os.environ.get("SHIPSLOG_TEST_BYTES") or "8"

pytestmark = pytest.mark.system


@pytest.mark.parametrize("is_reset", [False, True], ids=["farewell", "reset"])
async def test_a_command_is_done_or_not_whenever_its_client_goes(
    here: Installation, *, is_reset: bool
) -> None:
    # F43
    async with desk(here) as people:
        commands = await people.commands(secrets.token_hex(4))
        for request in commands.values():
            whole = people.encoded(request)
            before = len(log_of(here.data))
            for at in moments(len(whole)):
                await people.cut(whole[:at], is_reset=is_reset)
            half = written_by(log_of(here.data)[before:], request)
            assert half == [], "carried out without its end"
            await people.cut(whole, is_reset=is_reset)
            # Whatever came of that, the same key has one result from now on.
            reply = await people.send(request)
            assert reply.status in {201, 202}, (request, reply)
            assert await people.send(request) == reply
            written = written_by(log_of(here.data), request)
            assert str(written[-1].position) == reply.position
            assert len({event.header.recorded_at for event in written}) == 1
    assert not faults_of(here.data)


def moments(length: int) -> Sequence[int]:
    """Return after how many bytes, fewer than all, the client goes."""
    if BYTES == "all":
        return range(length)
    chosen = Random(BYTES).sample(range(1, length - 1), int(BYTES))  # noqa: S311 - no secret
    return sorted({0, length - 1, *chosen})
