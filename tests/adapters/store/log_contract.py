"""The contract of the port `Log`: what any store must keep, written once."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from shipslog.domain.append import Due
from shipslog.domain.errors import (
    ConflictError,
    EventTooLargeError,
    IdempotencyMismatchError,
    UnsealedError,
)
from shipslog.domain.event import Fence, encode_header, sha256_hex

from .contract import Contract, OpenStore, Store, shut
from .making import START, HandClock, Happened, appending, command, draft, one


class LogContract(Contract):
    async def test_an_append_gets_the_next_positions(self, store: Store) -> None:
        first = await store.log.append(appending(draft("a", 1), draft("b", 1), draft("a", 2)))
        second = await store.log.append(one("b", 2))
        assert (first.first, first.last) == (1, 3)
        assert (second.first, second.last) == (4, 4)
        assert [(e.position, e.reference) for e in first.events] == [
            (1, "a@1"),
            (2, "b@1"),
            (3, "a@2"),
        ]
        assert await store.log.head() == 4

    async def test_what_is_read_is_what_was_answered(self, store: Store) -> None:
        appended = await store.log.append(
            one(
                "target:staging/web",
                1,
                event=Happened(what="ä\n\u2028"),
                environment="staging",
                service="web",
                deployment="d",
                correlation="d",
                causation="deployment:d@1",
                fence=Fence(42, 7),
            )
        )
        (read,) = await store.log.page(after=0, limit=10)
        (written,) = appended.events
        assert read.header == written.header
        assert read.payload == written.payload
        assert read.event == Happened(what="ä\n\u2028")
        header = read.header
        assert header.fence == "42.7"
        assert header.payload_sha256 == sha256_hex(read.payload)
        assert header.topic == "test.happened"
        assert header.event_version == 1
        assert encode_header(header).startswith(
            b'{"stream":"target:staging/web","stream_version":1,'
        )

    async def test_equal_events_are_stored_in_different_bytes(self, store: Store) -> None:
        # What stands in one must not be guessed from what stands in another.
        appended = await store.log.append(appending(*(draft("a", n) for n in range(1, 5))))
        assert len({event.payload for event in appended.events}) == 4

    async def test_all_drafts_are_stored_or_none(self, store: Store) -> None:
        await store.log.append(one("b", 1))
        with pytest.raises(ConflictError, match="b has moved on"):
            await store.log.append(appending(draft("a", 1), draft("b", 1, command=command("x"))))
        assert await store.log.stream("a") == []
        assert await store.log.head() == 1

    @pytest.mark.parametrize("version", [0, 1, 3, -1, 2**70])
    async def test_a_version_must_be_the_next(self, store: Store, version: int) -> None:
        await store.log.append(one("a", 1))
        with pytest.raises(ConflictError):
            await store.log.append(one("a", version, command=command("x")))

    async def test_streams_that_were_only_read_must_stand_still(self, store: Store) -> None:
        await store.log.append(one("limits", 1))
        await store.log.append(appending(draft("a", 1), expects={"limits": 1, "unwritten": 0}))
        with pytest.raises(ConflictError, match="limits has moved on"):
            await store.log.append(appending(draft("b", 1), expects={"limits": 0}))

    async def test_of_two_appends_to_one_version_one_wins(self, store: Store) -> None:
        rivals = [one("a", 1, command=command(f"rival {n}")) for n in range(20)]
        outcomes = await asyncio.gather(
            *(store.log.append(rival) for rival in rivals), return_exceptions=True
        )
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 19
        assert await store.log.head() == 1

    async def test_a_conflict_drops_only_its_own_append(self, store: Store) -> None:
        appends = [one(f"s{n}", 2 if n % 3 == 0 else 1) for n in range(600)]
        outcomes = await asyncio.gather(
            *(store.log.append(append) for append in appends), return_exceptions=True
        )
        stored = [o for n, o in enumerate(outcomes) if n % 3]
        assert [getattr(o, "first", o) for o in stored] == list(range(1, 401))
        assert all(isinstance(o, ConflictError) for n, o in enumerate(outcomes) if n % 3 == 0)
        assert [e.position for e in store.log.scan()] == list(range(1, 401))

    async def test_a_known_command_is_answered_with_what_it_came_to(self, store: Store) -> None:
        append = appending(draft("a", 1), draft("a", 2))
        first = await store.log.append(append)
        again = await store.log.append(append)
        assert (again.first, again.last, again.known) == (1, 2, True)
        assert [e.payload for e in again.events] == [e.payload for e in first.events]
        assert await store.log.head() == 2

    async def test_a_command_twice_in_one_group_is_stored_once(self, store: Store) -> None:
        append = one("a", 1)
        answers = await asyncio.gather(*(store.log.append(append) for _ in range(50)))
        assert sorted(answer.known for answer in answers) == [False] + 49 * [True]
        assert {answer.last for answer in answers} == {1}

    async def test_one_command_id_has_one_body(self, store: Store) -> None:
        await store.log.append(one("a", 1, command=command("key", "body")))
        other = one("b", 1, command=command("key", "another body"))
        with pytest.raises(IdempotencyMismatchError):
            await store.log.append(other)
        outcomes = await asyncio.gather(
            store.log.append(one("c", 1, command=command("new", "body"))),
            store.log.append(one("d", 1, command=command("new", "another body"))),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], IdempotencyMismatchError)
        assert await store.log.head() == 2

    async def test_a_reaction_that_was_settled_meanwhile_is_a_conflict(self, store: Store) -> None:
        reaction = command("reaction")
        await store.log.append(one("a", 1, command=reaction))
        asked = command("asked")
        late = appending(draft("b", 1, command=asked), commands=(asked, reaction))
        with pytest.raises(ConflictError):
            await store.log.append(late)
        assert await store.log.command(asked.id) is None

    async def test_every_settled_command_is_found(
        self, store: Store, open_store: OpenStore
    ) -> None:
        commands = tuple(command(f"command {n}") for n in range(3))
        await store.log.append(appending(draft("a", 1), draft("a", 2), commands=commands))
        await shut(store)
        reopened = await open_store()
        for one_of in commands:
            found = await reopened.log.command(one_of.id)
            assert found is not None
            assert (found.first, found.last, len(found.events)) == (1, 2, 2)
        assert await reopened.log.command("unknown") is None
        await shut(reopened)

    async def test_a_command_may_change_nothing(self, store: Store) -> None:
        nothing = appending(commands=(command("abort what is over"),))
        answer = await store.log.append(nothing)
        assert (answer.first, answer.last, answer.events) == (1, 0, ())
        assert (await store.log.append(nothing)).known

    async def test_no_append_settles_a_command_twice(self, store: Store) -> None:
        twice = (command("c"), command("c"))
        with pytest.raises(ValueError, match="settles a command once"):
            await store.log.append(appending(draft("a", 1), commands=twice))

    async def test_recorded_at_never_goes_back(
        self, store: Store, clock: HandClock, open_store: OpenStore
    ) -> None:
        await store.log.append(one("a", 1))
        clock.move(-3600)
        (back,) = (await store.log.append(one("a", 2))).events
        assert back.header.recorded_at == START
        await shut(store)
        reopened = await open_store()
        (later,) = (await reopened.log.append(one("a", 3))).events
        assert later.header.recorded_at == START
        clock.move(7200)
        (now,) = (await reopened.log.append(one("a", 4))).events
        assert now.header.recorded_at == clock()
        await shut(reopened)

    async def test_occurred_at_is_the_drafts_in_utc(self, store: Store) -> None:
        there = START.astimezone(timezone(timedelta(hours=5, minutes=30)))
        (event,) = (await store.log.append(one("a", 1, occurred_at=there))).events
        assert event.header.occurred_at == START
        assert b'"occurred_at":"2030-01-01T12:00:00Z"' in encode_header(event.header)

    async def test_an_instant_without_a_time_zone_is_refused(self, store: Store) -> None:
        somewhen = datetime(2030, 1, 1)  # noqa: DTZ001 - the fault
        with pytest.raises(ValueError, match="time zone"):
            await store.log.append(one("a", 1, occurred_at=somewhen))
        assert await store.log.head() == 0

    async def test_a_personal_text_is_never_stored_in_the_clear(self, store: Store) -> None:
        with pytest.raises(UnsealedError, match="why"):
            await store.log.append(one("a", 1, event=Happened(why="because of Bob")))
        assert await store.log.head() == 0

    async def test_what_is_too_large_is_refused_alone(self, store: Store) -> None:
        outcomes = await asyncio.gather(
            store.log.append(one("a", 1)),
            store.log.append(one("b", 1, event=Happened(what="x" * 262_144))),
            store.log.append(one("c" * 65_536, 1)),
            store.log.append(one("d", 1)),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], EventTooLargeError)
        assert isinstance(outcomes[2], EventTooLargeError)
        assert [getattr(outcomes[n], "last", outcomes[n]) for n in (0, 3)] == [1, 2]

    async def test_a_caller_that_goes_does_not_take_its_append_along(self, store: Store) -> None:
        leaving = asyncio.create_task(store.log.append(one("a", 1)))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await store.log.append(one("b", 1))
        assert {e.header.stream for e in store.log.scan()} == {"a", "b"}

    async def test_closing_finishes_what_was_queued(
        self, store: Store, open_store: OpenStore
    ) -> None:
        waiting = [asyncio.create_task(store.log.append(one(f"s{n}", 1))) for n in range(300)]
        await asyncio.sleep(0)
        await shut(store)
        assert len(await asyncio.gather(*waiting)) == 300
        reopened = await open_store()
        assert await reopened.log.head() == 300
        await shut(reopened)

    async def test_due_instants_of_many_streams_go_along(
        self, store: Store, clock: HandClock
    ) -> None:
        due = (Due("a", START), Due("b", START + timedelta(hours=1)))
        await store.log.append(appending(draft("a", 1), draft("b", 1), due=due))
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["a"]
        clock.move(3600)
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["b"]
