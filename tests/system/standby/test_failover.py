"""Failovers under the store: what was acknowledged is there, or is named as lost.

`SHIPSLOG_TEST_STANDBY=all` takes both ways to release the order lock, and real processes.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shipslog.adapters.store.errors import LogRolledBackError, OldPrimaryError
from shipslog.adapters.store.postgres.line.meeting import TOKEN_BITS
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.seen import FILE
from shipslog.api.assembly import databases
from shipslog.api.settings import Settings
from shipslog.domain.append import Append, Due, Lease
from shipslog.domain.errors import FenceLostError, OutcomeUnknownError, RetryableError
from tests.adapters.store.making import appending, draft, one
from tests.adapters.store.postgres.appending import settled
from tests.adapters.store.postgres.watching import Reader, check
from tests.databases import carry_out

from ..crashing.conditions import eventually
from .conftest import IS_FULL, LEDGER
from .load import SOON_SECONDS, Load
from .pair import running

RELEASES = [Release.EARLY, Release.AFTER_FLUSH][: None if IS_FULL else 1]
LEASE = timedelta(seconds=2)
MANY = 100_000
WAITS = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%append%'"
GIVE_UP = WAITS.replace("SELECT", "SELECT pg_cancel_backend(pid)")

pytestmark = pytest.mark.system


@asynccontextmanager
async def opened(
    url: str, memory: Path, release: Release = Release.AFTER_FLUSH
) -> AsyncGenerator[PostgresStore]:
    store = await PostgresStore.open(url, terms=Terms(release, LEASE, memory))
    try:
        yield store
    finally:
        await store.close()


def made_due() -> Append:
    return appending(draft("due", 1), due=(Due("due", datetime.now(UTC)),))


async def claimed(store: PostgresStore) -> Lease:
    """Return the lease of the one stream that is due, once it is free."""
    found: list[Lease] = []

    async def is_claimed() -> bool:
        try:
            found.extend(await store.work.claim("me", 1))
        except RetryableError:
            return False
        return bool(found)

    assert await eventually(is_claimed, SOON_SECONDS)
    return found[0]


async def meets(url: str, query: str) -> bool:
    return await asyncio.to_thread(carry_out, url, query) > 0


@pytest.mark.parametrize("release", RELEASES)
async def test_a_synchronous_standby_has_all_that_was_acknowledged(
    prepared: Path, folder: Path, release: Release
) -> None:
    # F8
    with running(prepared, folder, is_synchronous=True) as servers:
        url, memory = servers.url(LEDGER), folder / FILE
        async with opened(url, memory, release) as store, opened(url, memory) as watcher:
            reader, load = Reader(watcher), Load(store)
            following = asyncio.create_task(reader.follow())
            await settled(store, made_due())
            old = await claimed(store)
            await load.grow(20)
            await asyncio.to_thread(servers.take_over)
            await load.grow(20)
            await load.end()
            with pytest.raises(FenceLostError):
                await store.log.append(appending(draft("due", 2), lease=old))
            new = await claimed(store)
            assert [token >> TOKEN_BITS for token in (old.token, new.token)] == [0, 1]
            async with asyncio.timeout(SOON_SECONDS):
                await reader.reach(await store.log.head())
            following.cancel()
            log = await store.log.page(after=0, limit=MANY)
            check(log, reader.seen, load.answers)
            assert (store.broken, watcher.broken) == (None, None)
            assert list(store.log.verify()) == []


async def test_a_standby_that_lagged_is_not_gone_on_with_until_an_operator_accepts(
    prepared: Path, folder: Path
) -> None:
    # F9
    with running(prepared, folder, is_synchronous=False) as servers:
        url, memory = servers.url(LEDGER), folder / FILE
        async with opened(url, memory) as store, opened(url, memory) as watcher:
            reader, load = Reader(watcher), Load(store)
            following = asyncio.create_task(reader.follow())
            await settled(store, made_due())
            await load.grow(10)
            await asyncio.to_thread(servers.standby.stop)
            old = await claimed(store)
            await load.grow(20)
            await asyncio.to_thread(servers.take_over)
            told = await load.failures()
            assert told
            assert {type(error) for error in told} == {LogRolledBackError}
            newest = max(last for _, last in load.answers.values())
            following.cancel()
            assert isinstance(store.broken, LogRolledBackError)
            said = store.broken.context
            with pytest.raises(LogRolledBackError):
                await store.work.claim("me", 1)
        head = carry_out(url, "SELECT FROM stored_events")
        assert said["first"] <= head + 1 <= said["last"] == newest
        assert said["head"] == head
        with pytest.raises(LogRolledBackError):
            await PostgresStore.open(url, terms=Terms(memory=memory))
        await an_operator_accepts(Settings(data=folder, postgres=url), LogRolledBackError(**said))
        async with opened(url, memory) as store:
            assert (await settled(store, one("new", 1))).last == head + 1
            assert (await claimed(store)).token > old.token
            check(await store.log.page(after=0, limit=MANY), [], {})
        assert "lost" not in await databases.status(Settings(data=folder, postgres=url))


async def an_operator_accepts(settings: Settings, lost: LogRolledBackError) -> None:
    assert str(lost) in await databases.check(settings)
    told = await databases.status(settings)
    assert (told["timeline"], told["lost"]) == (2, str(lost))
    assert told["seen"] > told["position"]
    assert (await databases.accept(settings))["lost"] == str(lost)
    assert await databases.check(settings) == []


async def test_an_old_primary_that_still_lives_is_left_once_a_host_has_met_the_new_one(
    prepared: Path, folder: Path
) -> None:
    # F10
    with running(prepared, folder, is_synchronous=True) as servers:
        here, there = servers.primary.url(LEDGER), servers.standby.url(LEDGER)
        async with opened(here, folder / FILE) as behind:
            await behind.log.append(one("a", 1))
            await asyncio.to_thread(servers.promote)
            # The connections that there are lead to the old one, which knows nothing of it.
            waiting = asyncio.create_task(behind.log.append(one("a", 2)))
            assert await eventually(lambda: meets(here, WAITS), SOON_SECONDS)
            async with opened(there, folder / FILE) as ahead:
                assert (await settled(ahead, one("a", 2))).last == 2
            with pytest.raises(OutcomeUnknownError):
                await asyncio.wait_for(waiting, SOON_SECONDS)
            with pytest.raises(OldPrimaryError):
                await behind.log.append(one("a", 3))
            with pytest.raises(OldPrimaryError):
                await PostgresStore.open(here, terms=Terms(memory=folder / FILE))
            assert carry_out(there, "SELECT FROM stored_events") == 2


async def test_a_commit_whose_standby_is_away_is_not_acknowledged(
    prepared: Path, folder: Path
) -> None:
    # F11
    with running(prepared, folder, is_synchronous=True) as servers:
        url = servers.primary.url(LEDGER)
        async with opened(url, folder / FILE) as store, opened(url, folder / FILE) as watcher:
            await store.log.append(one("a", 1))
            await asyncio.to_thread(servers.standby.stop)
            waiting = asyncio.create_task(store.log.append(one("a", 2)))
            assert await eventually(lambda: meets(url, GIVE_UP), SOON_SECONDS)
            with pytest.raises(OutcomeUnknownError):
                await waiting
            # It is there, and would be gone with this server: nobody is shown it yet.
            assert carry_out(url, "SELECT FROM stored_events") == 2
            reading = asyncio.create_task(watcher.log.stream("a"))
            repeated = asyncio.create_task(settled(store, one("a", 2)))
            assert not (await asyncio.wait((reading, repeated), timeout=0.3))[0]
            await asyncio.to_thread(servers.standby.start)
            assert (await repeated).known
            assert [event.position for event in await reading] == [1, 2]
