"""The contract of reading a log: pages, streams, instants, and waiting for more."""

import asyncio
from datetime import timedelta

import pytest

from shipslog.domain.errors import CorruptLogError
from shipslog.domain.event import encode_header
from shipslog.domain.ports import Stretch

from .contract import Contract, Store
from .making import START, HandClock, Happened, appending, draft, one

MANY = 700
"""More than what is read where the caller stands."""


class ReadingContract(Contract):
    @pytest.fixture
    async def long(self, store: Store) -> Store:
        drafts = [draft("a" if n % 7 else "b", n - n // 7 if n % 7 else n // 7) for n in RANGE]
        await store.log.append(appending(*drafts))
        return store

    @pytest.mark.parametrize("limit", [1, 255, 256, 257, 500, MANY, 2000])
    async def test_pages_follow_each_other_without_a_gap(self, long: Store, limit: int) -> None:
        position, seen = 0, list[int]()
        while page := await long.log.page(after=position, limit=limit):
            assert len(page) <= limit
            seen += [event.position for event in page]
            position = page[-1].position
        assert seen == list(RANGE)

    async def test_who_follows_meets_every_event_once(self, store: Store) -> None:
        followed = list[int]()
        for version in range(1, 6):
            await store.log.append(one("a", version))
            while page := await store.log.newer(after=len(followed), limit=2):
                followed += [event.position for event in page]
        assert followed == [1, 2, 3, 4, 5]
        assert [one.position for one in await store.log.newer(after=2, limit=2)] == [3, 4]

    async def test_a_stream_is_read_to_its_end(self, long: Store) -> None:
        events = await long.log.stream("a")
        assert [e.header.stream_version for e in events] == list(range(1, 601))
        assert [e.header.stream_version for e in await long.log.stream("a", after=598)] == [
            599,
            600,
        ]
        assert await long.log.stream("a", after=600) == []
        assert await long.log.stream("nobody wrote to it") == []

    async def test_a_scan_is_the_whole_log_or_a_part(self, long: Store) -> None:
        assert [e.position for e in long.log.scan()] == list(RANGE)
        assert [e.position for e in long.log.scan(after=690, upto=695)] == list(range(691, 696))
        assert list(long.log.scan(after=MANY)) == []
        assert [e.position for e in long.log.scan(after=699, upto=10_000)] == [MANY]

    @pytest.mark.parametrize(("after", "upto"), [(0, MANY), (3, 5), (499, 502), (MANY, MANY)])
    async def test_stretches_are_the_stored_bytes_without_a_gap(
        self, long: Store, after: int, upto: int
    ) -> None:
        lines: list[bytes] = []
        for stretch in await asyncio.to_thread(all_of, long, after, upto):
            assert stretch.first == after + len(lines) // 2 + 1
            lines += b"\n".join(stretch.states).split(b"\n")
            assert stretch.last == after + len(lines) // 2
        events = long.log.scan(after=after, upto=upto)
        assert lines == [line for e in events for line in (encode_header(e.header), e.payload)]

    async def test_a_stretch_is_bounded_in_bytes(self, store: Store) -> None:
        large = Happened(what="x" * 200_000)
        await store.log.append(appending(*(draft("a", n, event=large) for n in range(1, 8))))
        stretches = await asyncio.to_thread(all_of, store, 0, 7)
        assert [(stretch.first, len(stretch.states)) for stretch in stretches] == [
            (1, 4),
            (5, 3),
        ]

    async def test_a_stretch_is_refused_where_an_event_is_missing(self, store: Store) -> None:
        await store.log.append(one("a", 1))
        assert len(await asyncio.to_thread(all_of, store, 0, 1)) == 1
        with pytest.raises(CorruptLogError):
            await asyncio.to_thread(all_of, store, 0, 2)

    async def test_a_position_is_found_by_stream_and_version(self, long: Store) -> None:
        assert long.log.position_of("b", 2) == 14
        assert long.log.position_of("b", 101) is None
        assert long.log.position_of("c", 1) is None

    async def test_many_positions_are_found_at_once(self, long: Store) -> None:
        found = await long.log.positions_of(["b@2", "b@101", "c@1", "a@1", "b@2"])
        assert found == {"a@1": 1, "b@2": 14}
        assert await long.log.positions_of([]) == {}

    async def test_an_empty_log_is_read_as_such(self, store: Store) -> None:
        assert await store.log.head() == 0
        assert await store.log.page(after=0, limit=10) == []
        assert list(store.log.scan()) == []
        assert await store.log.as_of(START) == 0

    async def test_as_of_an_instant_is_the_last_position_recorded_by_then(
        self, store: Store, clock: HandClock
    ) -> None:
        for version, wait in enumerate((0, 10, 0, 0, -5, 10), 1):
            clock.move(wait)
            await store.log.append(one("a", version))
        assert await store.log.as_of(START - timedelta(microseconds=1)) == 0
        assert await store.log.as_of(START) == 1
        assert await store.log.as_of(START + timedelta(seconds=10, microseconds=-1)) == 1
        assert await store.log.as_of(START + timedelta(seconds=10)) == 5
        assert await store.log.as_of(START + timedelta(seconds=15)) == 6
        assert await store.log.as_of(START + timedelta(days=1)) == 6

    async def test_waiting_ends_at_once_where_there_is_more(self, store: Store) -> None:
        await store.log.append(one("a", 1))
        assert await store.log.wait_beyond(0, 60) == 1

    async def test_waiting_ends_with_the_append(self, store: Store) -> None:
        waiting = [asyncio.create_task(store.log.wait_beyond(n, 60)) for n in (0, 0, 1)]
        await asyncio.sleep(0)
        await store.log.append(one("a", 1))
        assert await asyncio.gather(*waiting[:2]) == [1, 1]
        assert not waiting[2].done()
        await store.log.append(one("a", 2))
        assert await waiting[2] == 2

    async def test_waiting_ends_in_time(self, store: Store) -> None:
        assert await store.log.wait_beyond(0, 0.01) == 0

    async def test_no_reader_is_ahead_of_the_durable_head(self, store: Store) -> None:
        seen: list[tuple[int, int]] = []

        async def follow() -> None:
            position = 0
            while position < 200:
                head = await store.log.wait_beyond(position, 60)
                page = await store.log.page(after=position, limit=1000)
                seen.extend((event.position, head) for event in page)
                position = page[-1].position

        following = asyncio.create_task(follow())
        await asyncio.gather(*(store.log.append(one(f"s{n}", 1)) for n in range(200)))
        await following
        assert [position for position, _ in seen] == list(range(1, 201))


def all_of(store: Store, after: int, upto: int) -> list[Stretch]:
    return list(store.log.stretches(lambda stretch: stretch, after=after, upto=upto))


RANGE = range(1, MANY + 1)
