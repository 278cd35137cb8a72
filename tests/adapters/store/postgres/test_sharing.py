"""Processes that share a ledger: clocks that differ, leases that end, work that is claimed once."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from shipslog.adapters.store.library import LedgerMapper
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.append import Due
from shipslog.domain.errors import ConflictError, FenceLostError
from shipslog.domain.event import Recorded

from ..making import START, HandClock, appending, command, draft, one

SHORT = timedelta(milliseconds=300)


async def opened(url: str, clock: HandClock | None = None, **terms: object) -> PostgresStore:
    said = Terms(release=Release.AFTER_FLUSH, **terms)  # type: ignore[arg-type]
    return await PostgresStore.open(url, clock or HandClock(), said)


@pytest.mark.parametrize("seconds", [0.25, 3600])
async def test_a_clock_that_lags_records_no_earlier_than_the_one_ahead(
    database: str, seconds: float
) -> None:
    behind, ahead = HandClock(), HandClock()
    ahead.move(seconds)
    first, second = await opened(database, ahead), await opened(database, behind)
    await first.log.append(one("a", 1))
    (late,) = (await second.log.append(one("b", 1))).events
    assert late.header.recorded_at == ahead.at
    behind.move(seconds + 1)
    (now,) = (await second.log.append(one("b", 2))).events
    assert now.header.recorded_at == behind.at
    mapper = LedgerMapper(transcoder=None)  # type: ignore[arg-type]
    for event, row in zip(await first.log.page(after=0, limit=9), first.log.rows(), strict=True):
        assert mapper.to_stored_event(event).state == row.state
        assert isinstance(event, Recorded)
    (stored,) = [e for e in first.log.scan() if e.position == late.position]
    assert (stored.header, stored.payload) == (late.header, late.payload)
    assert list(first.log.verify()) == []
    await first.close()
    await second.close()


async def test_who_follows_meets_also_what_others_write_in_between(database: str) -> None:
    first, second = await opened(database), await opened(database)
    for version in range(1, 4):
        await first.log.append(appending(draft("a", 2 * version - 1), draft("a", 2 * version)))
        await second.log.append(one("b", version))
    for follower in (first, second):
        followed = list[Recorded]()
        while page := await follower.log.newer(after=len(followed), limit=2):
            followed += page
        assert [event.position for event in followed] == list(range(1, 10))
        read = await follower.log.page(after=0, limit=100)
        assert [(event.header, event.payload) for event in followed] == [
            (event.header, event.payload) for event in read
        ]
    await first.close()
    await second.close()


async def test_what_a_writer_knew_of_a_stream_holds_until_somebody_else_writes(
    database: str,
) -> None:
    first, second = await opened(database), await opened(database)
    await first.log.append(one("limits", 1))
    await first.log.append(appending(draft("a", 1), expects={"limits": 1}))
    await second.log.append(one("limits", 2))
    with pytest.raises(ConflictError, match="limits has moved on"):
        await first.log.append(appending(draft("b", 1), expects={"limits": 1}))
    await first.log.append(appending(draft("b", 1), expects={"limits": 2}))
    # As many events as the writer has on its way come from elsewhere.
    for version in range(2, 30):
        outcomes = await asyncio.gather(
            first.log.append(appending(draft("b", version), expects={"limits": version})),
            second.log.append(one("limits", version + 1)),
            return_exceptions=True,
        )
        assert not isinstance(outcomes[1], BaseException)
        if isinstance(outcomes[0], BaseException):
            assert isinstance(outcomes[0], ConflictError)
            await first.log.append(appending(draft("b", version), expects={"limits": version + 1}))
    assert list(first.log.verify()) == []
    await first.close()
    await second.close()


async def test_commands_that_others_settled_are_answered_one_by_one(database: str) -> None:
    first, second = await opened(database), await opened(database)
    appends = [one(f"s{n}", 1) for n in range(40)]
    await asyncio.gather(*(first.log.append(append) for append in appends[::3]))
    answers = await asyncio.gather(*(second.log.append(append) for append in appends))
    assert [answer.known for answer in answers] == [n % 3 == 0 for n in range(40)]
    assert sorted(answer.last for answer in answers) == list(range(1, 41))
    await first.close()
    await second.close()


async def test_a_stream_that_another_process_wrote_to_is_a_conflict(database: str) -> None:
    first, second = await opened(database), await opened(database)
    await first.log.append(one("a", 1))
    with pytest.raises(ConflictError):
        await second.log.append(one("a", 1, command=command("x")))
    assert (await second.log.append(one("a", 1))).known
    outcomes = await asyncio.gather(
        *(store.log.append(one(f"s{n}", 1, command=command(f"{n} {store is first}")))
          for n in range(100) for store in (first, second)),
        return_exceptions=True,
    )  # fmt: skip
    assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 100
    assert await first.log.head() == 101
    await first.close()
    await second.close()


async def test_a_lease_that_is_not_renewed_is_taken_over(database: str) -> None:
    first = await opened(database, lease=SHORT)
    second = await opened(database, lease=timedelta(seconds=60))
    await first.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    (old,) = await first.work.claim("first", 10)
    for _ in range(4):
        await asyncio.sleep(SHORT.total_seconds() / 3)
        assert await first.work.renew([old]) == (old,)
        assert await second.work.claim("second", 10) == ()
    while not (taken := await second.work.claim("second", 10)):  # noqa: ASYNC110 - the server's
        await asyncio.sleep(0.02)
    assert taken[0].token > old.token
    assert await first.work.renew([old]) == ()
    with pytest.raises(FenceLostError):
        await first.log.append(appending(draft("d", 2), lease=old))
    await second.log.append(appending(draft("d", 2), lease=taken[0]))
    await first.close()
    await second.close()


async def test_a_lease_that_has_ended_appends_nothing_although_nobody_has_it(
    database: str,
) -> None:
    store = await opened(database, lease=timedelta(0))
    await store.log.append(appending(draft("d", 1), due=(Due("d", START),)))
    (ended,) = await store.work.claim("me", 1)
    with pytest.raises(FenceLostError):
        await store.log.append(appending(draft("d", 2), lease=ended))
    await store.close()


async def test_ten_workers_claim_each_deployment_once(database: str) -> None:
    stores = [await opened(database) for _ in range(10)]
    due = tuple(Due(f"d{n}", START) for n in range(100))
    await stores[0].log.append(appending(draft("a", 1), due=due))
    claimed = await asyncio.gather(
        *(store.work.claim(f"w{n % 10}", 7) for n, store in enumerate(stores * 3))
    )
    leases = [lease for some in claimed for lease in some]
    while more := await stores[0].work.claim("w0", 7):
        leases += more
    assert sorted(lease.stream for lease in leases) == sorted(one.stream for one in due)
    assert len({lease.token for lease in leases}) == 100
    for store in stores:
        await store.close()


async def test_a_claim_passes_over_what_is_just_being_written(database: str) -> None:
    store = await opened(database)
    due = (Due("busy", START), Due("free", START))
    await store.log.append(appending(draft("a", 1), due=due))
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM shipslog.work WHERE stream = 'busy' FOR NO KEY UPDATE")
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["free"]
        other.rollback()
    assert [lease.stream for lease in await store.work.claim("me", 10)] == ["busy"]
    await store.close()


async def test_others_hear_of_an_append_without_polling(database: str) -> None:
    first, second = await opened(database), await opened(database)
    await second.log.wait_beyond(0, 0.3)
    for number in range(1, 4):
        waiting = asyncio.create_task(second.log.wait_beyond(number - 1, 30))
        await first.log.append(one("a", number))
        assert await asyncio.wait_for(waiting, 0.8) == number
    await first.close()
    await second.close()
