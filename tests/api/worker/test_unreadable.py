"""What only a newer build can read is told of once, put off ever longer, and left as it is."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from structlog.testing import capture_logs

from shipslog.api.worker.unreadable import REMEMBERED, Unreadable
from shipslog.domain.deployment import Status
from shipslog.domain.errors import UnknownTopicError
from shipslog.domain.event import Recorded

from .room import Room
from .test_takeover import BUILD

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRIES = 3


def unknown(topic: str = "deployment.new") -> UnknownTopicError:
    return UnknownTopicError(topic=topic, version=2)


async def test_a_deployment_that_cannot_be_read_is_told_of_once_and_then_carried_by_who_can(
    room: Room,
) -> None:
    # F37
    await room.begin(BUILD)
    read, tries = room.ledger.stream, list[str]()
    tried, is_older = asyncio.Event(), True

    async def stream(stream: str, *, after: int = 0) -> Sequence[Recorded]:
        if stream == first and is_older:
            tries.append(stream)
            if len(tries) == TRIES:
                tried.set()
            raise unknown()
        return await read(stream, after=after)

    gate = room.machine.gate("build")
    name = await room.deploy("1.0.0")
    await gate.reached.wait()
    await room.lose_worker()
    first, before = f"deployment:{name}", await read(f"deployment:{name}")
    room.ledger.stream = stream  # type: ignore[method-assign]
    room.machine.open()
    with capture_logs() as said:
        room.start()
        async with asyncio.timeout(30):
            await tried.wait()
        assert list(await read(first)) == list(before)
        is_older = False
        assert (await room.end_of(name)).status is Status.SUCCEEDED
    warned = [line for line in said if line["log_level"] in ("warning", "error")]
    assert [(line["event"], line["stream"]) for line in warned] == [
        ("deployment_unreadable", first)
    ]
    assert "deployment.new" in warned[0]["detail"]
    assert not any(line.get("exc_info") for line in said)


def test_it_is_put_off_ever_longer_but_no_longer_than_a_newer_worker_can_wait() -> None:
    unreadable = Unreadable()
    with capture_logs() as said:
        dues = [unreadable.put_off("deployment:a", unknown(), NOW) for _ in range(6)]
        unreadable.put_off("deployment:b", unknown(), NOW)
    seconds = [(due.at - NOW).total_seconds() for due in dues if due.at]
    longest = [1, 2, 4, 8, 10, 10]
    assert all(most / 2 <= one <= most for one, most in zip(seconds, longest, strict=True))
    assert seconds[4] != seconds[5], "no two workers may keep step for ever"
    assert [line["stream"] for line in said] == ["deployment:a", "deployment:b"]


def test_what_is_not_known_for_another_reason_is_told_anew() -> None:
    unreadable = Unreadable()
    with capture_logs() as said:
        for topic in ("one", "one", "two"):
            due = unreadable.put_off("deployment:a", unknown(topic), NOW)
    assert len(said) == 2
    assert due.at
    assert 0.5 <= (due.at - NOW).total_seconds() <= 1


def test_what_is_remembered_is_bounded() -> None:
    unreadable = Unreadable()
    with capture_logs() as said:
        for number in range(REMEMBERED + 1):
            unreadable.put_off(f"deployment:{number}", unknown(), NOW)
        unreadable.put_off("deployment:1", unknown(), NOW)
        unreadable.put_off("deployment:0", unknown(), NOW)
    assert len(said) == REMEMBERED + 2
