"""The follower: up to the head, told in time, rebuilt while it is read."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest
from sqlalchemy import Connection, delete

from shipslog.domain.errors import NotFoundError, NotYetVisibleError
from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import (
    Follower,
    Observer,
    Parked,
    ReadModel,
    SqliteViews,
    following,
    projecting,
)
from shipslog.projections.history import History

from ..counting import Counting, fingerprints
from ..engines import Engine
from .growing_log import GrowingLog

SECONDS = 10.0
"""Longer than anything here takes."""

Following = Callable[..., Awaitable[Follower]]


class Watcher(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.reached: list[tuple[int, int]] = []
        self.parked: list[Parked] = []
        self.faults: list[Exception] = []
        self.lates: list[tuple[int, int]] = []

    def late(self, first: int, last: int) -> None:
        self.lates.append((first, last))

    def applied(self, position: int, head: int, seconds: float) -> None:
        assert seconds >= 0
        self.reached.append((position, head))

    def stopped(self, parked: Parked) -> None:
        self.parked.append(parked)

    def failed(self, error: Exception) -> None:
        self.faults.append(error)


@pytest.fixture
def log(events: Sequence[Recorded]) -> GrowingLog:
    return GrowingLog(events, shown=30)


@pytest.fixture
async def follow(engine: Engine, log: GrowingLog) -> AsyncIterator[Following]:
    """Return a function that opens a follower of the log, each time over the same views."""
    opened: list[Follower] = []

    async def opening(
        models: Sequence[ReadModel] = READ_MODELS, observer: Observer | None = None
    ) -> Follower:
        views = engine.again(opened[0].views, models) if opened else engine.make(models)
        follower = Follower(log, views, observer)
        await follower.open()
        opened.append(follower)
        return follower

    yield opening
    for follower in opened:
        with suppress(RuntimeError):  # closed in the test
            await follower.close()


@asynccontextmanager
async def running(follower: Follower) -> AsyncGenerator[None]:
    """Let a follower run meanwhile."""
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_it_catches_up_in_pages_that_grow(
    follow: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "LEAST_PAGE", 4)
    monkeypatch.setattr(projecting, "LARGEST_PAGE", 10)
    watcher = Watcher()
    follower = await follow(observer=watcher)
    assert await follower.catch_up() == 30
    assert [position for position, _ in watcher.reached] == [4, 12, 22, 30]
    assert (follower.position, follower.head, follower.lag) == (30, 30, 0)


async def test_it_follows_what_comes_and_wakes_who_waits_for_it(
    follow: Following, log: GrowingLog
) -> None:
    follower = await follow()
    async with running(follower):
        await follower.reached(30, SECONDS)
        later = [asyncio.create_task(follower.reached(n, SECONDS)) for n in (60, 31, 90, 60)]
        log.grow(60)
        await asyncio.gather(later[0], later[1], later[3])
        assert follower.position == 60
        assert not later[2].done()
        log.grow(90)
        await later[2]


async def test_who_waits_too_long_is_told_so(follow: Following) -> None:
    follower = await follow()
    await follower.catch_up()
    await follower.reached(30, 0)
    with pytest.raises(NotYetVisibleError, match="31"):
        await follower.reached(31, 0.01)
    await follower.catch_up()


async def test_what_may_be_at_hand_is_not_asked_for_as_a_page(
    follow: Following, log: GrowingLog
) -> None:
    follower = await follow()
    async with running(follower):
        await follower.reached(30, SECONDS)
        before = log.pages_asked
        for shown in range(31, 60):
            log.grow(shown)
            await follower.reached(shown, SECONDS)
        # The look each second, which is the truth, may have come between.
        assert log.pages_asked - before < 29


async def test_hints_without_news_change_nothing(
    follow: Following, log: GrowingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    watcher = Watcher()
    follower = await follow(observer=watcher)
    async with running(follower):
        await follower.reached(30, SECONDS)
        for _ in range(5):
            log.asked.clear()
            log.hint()
            await log.asked.wait()
        assert [position for position, _ in watcher.reached] == [30]


async def test_without_a_hint_it_looks_by_itself(
    follow: Following, log: GrowingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    follower = await follow()
    async with running(follower):
        await follower.reached(30, SECONDS)
        log.shown = 60
        await follower.reached(60, SECONDS)


async def test_a_fault_of_the_log_is_told_and_got_over(
    follow: Following, log: GrowingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    watcher = Watcher()
    follower = await follow(observer=watcher)
    log.fault = OSError("the disk is gone")
    async with running(follower):
        await follower.reached(30, SECONDS)
    assert [str(fault) for fault in watcher.faults] == ["the disk is gone"]


class Hanging(Counting):
    """Hangs until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        assert self.go_on.wait(6 * SECONDS)
        super().apply(db, events)


async def test_of_a_fold_that_hangs_it_is_told_at_which_events(
    follow: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    # F36
    monkeypatch.setattr(projecting, "LATE_SECONDS", 0.01)
    hanging, watcher = Hanging(), Watcher()
    follower = await follow([hanging], watcher)
    async with running(follower), asyncio.timeout(6 * SECONDS):
        while not watcher.lates:  # noqa: ASYNC110 - an observer tells no event
            await asyncio.sleep(0.001)
        assert (watcher.lates[0], watcher.reached) == ((1, 30), [])
        hanging.go_on.set()
        await follower.reached(30, 6 * SECONDS)
    assert watcher.parked == []


async def test_it_goes_on_where_it_stood(follow: Following, log: GrowingLog) -> None:
    first = await follow()
    await first.catch_up()
    await first.close()
    asked = log.pages_asked
    second = await follow()
    assert second.position == 30
    await second.catch_up()
    assert log.pages_asked == asked + 2


async def test_views_ahead_of_the_log_are_begun_anew(follow: Following, log: GrowingLog) -> None:
    first = await follow()
    await first.catch_up()
    await first.close()
    log.grow(20)
    second = await follow()
    assert second.position == 0
    assert await second.catch_up() == 20


async def test_views_of_another_log_are_begun_anew(follow: Following, log: GrowingLog) -> None:
    first = await follow()
    await first.catch_up()
    await first.close()
    there = log.events[29]
    header = msgspec.structs.replace(there.header, payload_sha256="0" * 64)
    log.events[29] = Recorded(30, header, there.payload)
    second = await follow()
    assert second.position == 0


async def test_a_rebuild_gives_the_same_bytes(follow: Following, log: GrowingLog) -> None:
    follower = await follow()
    await follower.catch_up()
    before = fingerprints(follower.views)
    rebuilt = await follower.rebuild()
    assert fingerprints(follower.views) == before
    assert rebuilt.position == rebuilt.events == 30
    log.grow(60)
    await follower.catch_up()
    assert follower.position == 60


def digests(db: Connection) -> list[str]:
    return [model.fingerprint(db) for model in READ_MODELS]


async def test_who_reads_during_a_rebuild_sees_all_old_or_all_new(follow: Following) -> None:
    follower = await follow()
    await follower.catch_up()
    new = fingerprints(follower.views)
    with follower.views.writing() as db:
        for table in (table for model in READ_MODELS for table in model.tables):
            db.execute(delete(table))
    old = fingerprints(follower.views)
    task = asyncio.create_task(follower.rebuild())
    seen: list[list[str]] = []
    while not task.done():
        seen += await asyncio.gather(*[follower.views.read(digests) for _ in range(3)])
        await asyncio.sleep(0)
    await task
    assert old != new
    assert [one for one in seen if one not in (old, new)] == []
    assert await follower.views.read(digests) == new


async def test_a_rebuild_mends_what_was_changed_by_hand(follow: Following) -> None:
    follower = await follow()
    await follower.catch_up()
    before = fingerprints(follower.views)
    with follower.views.writing() as db:
        db.exec_driver_sql("UPDATE deployments SET status = 'succeeded'")
        db.exec_driver_sql("DELETE FROM targets")
    assert fingerprints(follower.views) != before
    await follower.rebuild()
    assert fingerprints(follower.views) == before


async def test_following_goes_on_during_a_rebuild(follow: Following, log: GrowingLog) -> None:
    follower = await follow()
    async with running(follower):
        await follower.reached(30, SECONDS)
        rebuilds = [asyncio.create_task(follower.rebuild()) for _ in range(2)]
        for shown in range(31, len(log.events)):
            log.grow(shown)
            await follower.reached(shown, SECONDS)
        first, second = await asyncio.gather(*rebuilds)
        assert first.position <= second.position <= follower.position
    fresh = SqliteViews(None, READ_MODELS)
    fresh.open()
    fresh.apply(log.events[: log.shown])
    with fresh.writing() as db:
        assert fingerprints(follower.views) == [model.fingerprint(db) for model in READ_MODELS]
    fresh.close()


async def test_a_rebuild_that_is_cancelled_leaves_the_views_as_they_are(
    follow: Following, log: GrowingLog
) -> None:
    follower = await follow()
    await follower.catch_up()
    before = fingerprints(follower.views)
    for steps in range(12):
        task = asyncio.create_task(follower.rebuild())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert fingerprints(follower.views) == before
    log.grow(60)
    assert await follower.catch_up() == 60
    await follower.rebuild()


async def test_a_parked_stream_is_cleared_by_its_own_rebuild(
    follow: Following, log: GrowingLog
) -> None:
    watcher = Watcher()
    model = Counting(poison=8)
    follower = await follow([model, Deployments()], watcher)
    await follower.catch_up()
    (parked,) = watcher.parked
    whole = await fingerprints_of_all([Counting(), Deployments()], log)
    assert fingerprints(follower.views) != whole
    rebuilt = await follower.rebuild_stream(parked.stream)
    assert follower.views.parked() == [parked]
    model.poison = 0
    rebuilt = await follower.rebuild_stream(parked.stream)
    assert rebuilt.events == 2 * len(await log.stream(parked.stream))
    assert follower.views.parked() == []
    assert fingerprints(follower.views) == whole
    log.grow(60)
    await follower.catch_up()
    assert fingerprints(follower.views) == await fingerprints_of_all(
        [Counting(), Deployments()], log
    )


async def test_a_parked_stream_is_cleared_by_a_whole_rebuild(
    follow: Following, log: GrowingLog
) -> None:
    model = Counting(poison=8)
    follower = await follow([model])
    await follower.catch_up()
    assert follower.views.parked()
    model.poison = 0
    await follower.rebuild()
    assert follower.views.parked() == []
    assert fingerprints(follower.views) == await fingerprints_of_all([Counting()], log)


async def test_who_opens_views_learns_what_is_parked(follow: Following) -> None:
    first = await follow([Counting(poison=8)])
    await first.catch_up()
    await first.close()
    watcher = Watcher()
    await follow([Counting(poison=8)], watcher)
    assert [parked.position for parked in watcher.parked] == [8]


class Forgetting(History):
    """Cannot bear one request."""

    def __init__(self, poison: int) -> None:
        self.poison = poison

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        if self.poison in {event.position for event in events}:
            message = "I cannot bear it"
            raise ValueError(message)
        super().apply(db, events)


@pytest.mark.parametrize("topic", ["deployment.requested", "environment.defined"])
async def test_bounded_history_is_whole_again_after_the_rebuild_of_a_stream(
    follow: Following, log: GrowingLog, topic: str
) -> None:
    log.grow(len(log.events))
    for event in [e for e in log.events if e.header.topic == topic][::4]:
        model = Forgetting(event.position)
        follower = await follow([model])
        await follower.rebuild()
        assert follower.views.parked()
        model.poison = 0
        await follower.rebuild_stream(event.header.stream)
        assert follower.views.parked() == []
        assert fingerprints(follower.views) == await fingerprints_of_all([History()], log)
        await follower.close()


async def test_a_sound_stream_is_rebuilt_to_the_same_bytes(
    follow: Following, log: GrowingLog
) -> None:
    log.grow(len(log.events))
    follower = await follow()
    await follower.catch_up()
    before = fingerprints(follower.views)
    for stream in {event.header.stream for event in log.events}:
        await follower.rebuild_stream(stream)
        assert fingerprints(follower.views) == before


async def test_a_stream_without_events_cannot_be_rebuilt(follow: Following) -> None:
    follower = await follow()
    with pytest.raises(NotFoundError):
        await follower.rebuild_stream("deployment:none")


async def fingerprints_of_all(models: Sequence[ReadModel], log: GrowingLog) -> list[str]:
    """Return the digests of read models of all that the log shows."""
    fresh = SqliteViews(None, models)
    fresh.open()
    fresh.apply(log.events[: log.shown])
    with fresh.writing() as db:
        found = [model.fingerprint(db) for model in models]
    fresh.close()
    return found
