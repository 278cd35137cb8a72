"""Streams in memory: what is followed is folded, whatever is being read at that moment."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import structs

from shipslog.domain.deployment import Deployment
from shipslog.domain.errors import UnknownTopicError
from shipslog.domain.event import Recorded
from shipslog.domain.streams import Streams
from shipslog.domain.transaction import Transaction

from .story import COMMANDS_ONLY, Story


class Shelf:
    """A log that holds one stream, and can be slow."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.events = events
        self.reads = 0
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        del stream
        self.reads += 1
        events = self.events[after:]
        self.asked.set()
        await self.may_answer.wait()
        return events


@pytest.fixture
async def events() -> Sequence[Recorded]:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    name = await story.request()
    await story.settle(name)
    return await story.ledger.stream(f"deployment:{name}")


def streams_of(shelf: Shelf) -> Streams:
    return Streams(shelf)  # type: ignore[arg-type]


async def test_what_is_followed_need_not_be_read(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    await streams.load(Deployment, stream)
    streams.learn(events)
    streams.learn(events)
    seen = await streams.seen(Deployment, stream)
    assert (seen.version, shelf.reads) == (len(events), 1)
    shelf.events = events
    assert await streams.load(Deployment, stream) == seen


async def test_what_was_stored_here_need_not_be_read(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events)
    streams, stream = streams_of(shelf), events[0].header.stream
    streams.stored(events[:2])
    streams.stored(events[2:])
    seen = await streams.seen(Deployment, stream)
    assert (seen.version, shelf.reads) == (len(events), 0)
    assert await streams.load(Deployment, stream) == seen


async def test_what_is_only_followed_is_not_kept(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events)
    streams, stream = streams_of(shelf), events[0].header.stream
    streams.learn(events)
    await streams.seen(Deployment, stream)
    assert shelf.reads == 1


async def test_what_was_at_hand_is_taken_also_where_it_is_lost_meanwhile(
    events: Sequence[Recorded],
) -> None:
    shelf = Shelf(())
    streams, stream = streams_of(shelf), events[0].header.stream
    streams.stored(events[:1])
    shelf.may_answer.clear()
    transaction = Transaction(now=events[-1].header.occurred_at, actor="sub_system")
    taking = asyncio.create_task(streams.at_hand(transaction, stream, "target:staging/new"))
    async with asyncio.timeout(60):
        await shelf.asked.wait()
        streams.learn(events[-1:])
        shelf.may_answer.set()
        await taking
    assert transaction.versions == {stream: 1, "target:staging/new": 0}


async def test_what_moves_unheard_is_known_to_move(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    await streams.load(Deployment, stream)
    streams.learn(events[1:2])
    shelf.events = events[:2]
    await streams.load(Deployment, stream)
    assert not streams.is_moving(stream)
    shelf.events = events
    await streams.load(Deployment, stream)
    assert streams.is_moving(stream)
    await streams.load(Deployment, stream)
    assert not streams.is_moving(stream)


async def test_what_is_heard_while_it_is_read_does_not_move_unheard(
    events: Sequence[Recorded],
) -> None:
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    await streams.load(Deployment, stream)
    shelf.asked.clear()
    shelf.may_answer.clear()
    shelf.events = events
    loading = asyncio.create_task(streams.load(Deployment, stream))
    async with asyncio.timeout(60):
        await shelf.asked.wait()
        streams.learn(events[1:])
        shelf.may_answer.set()
        await loading
    assert not streams.is_moving(stream)


async def test_what_is_followed_while_it_is_read_is_not_missed(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    shelf.may_answer.clear()
    loading = asyncio.create_task(streams.seen(Deployment, stream))
    async with asyncio.timeout(60):
        await shelf.asked.wait()
        shelf.events = events
        streams.learn(events[1:])
        shelf.may_answer.set()
        assert (await loading).version == len(events)


async def test_what_is_followed_with_a_gap_is_read_again(events: Sequence[Recorded]) -> None:
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    await streams.load(Deployment, stream)
    shelf.events = events
    streams.learn(events[-1:])
    assert (await streams.seen(Deployment, stream)).version == len(events)


async def test_who_reads_a_stream_finds_what_is_wrong_with_it(events: Sequence[Recorded]) -> None:
    header = structs.replace(events[1].header, topic="deployment.not_known")
    wrong = Recorded(events[1].position, header, b"{}")
    shelf = Shelf(events[:1])
    streams, stream = streams_of(shelf), events[0].header.stream
    await streams.load(Deployment, stream)
    shelf.events = [events[0], wrong]
    streams.learn([wrong])
    with pytest.raises(UnknownTopicError):
        await streams.seen(Deployment, stream)
