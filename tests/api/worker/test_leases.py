"""Leases as their worker has them: renewed in one batch, and given up by its own clock."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from shipslog.api.worker.leases import Leases
from shipslog.domain.append import Due, Lease
from shipslog.domain.errors import FenceLostError, RetryableError

SECONDS = 15.0
SHORT, LONG = 0.3, 30.0


class Queue:
    """A queue that says what it was asked, and does what a test wants."""

    def __init__(self) -> None:
        self.renewed: list[list[Lease]] = []
        self.released: list[tuple[Lease, Due | None]] = []
        self.lost: set[Lease] = set()
        self.is_away = False
        self.hangs = False
        self.meanwhile: Callable[[], object] = lambda: None

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        self.meanwhile()
        return [Lease(f"d{n}", n, owner) for n in range(limit)]

    async def hold(self, owner: str, stream: str) -> Lease | None:
        return Lease(stream, 7, owner)

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        self.renewed.append([*leases])
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise RetryableError
        self.meanwhile()
        return [lease for lease in leases if lease not in self.lost]

    async def release(self, lease: Lease, due: Due | None) -> None:
        self.released.append((lease, due))


class Watch:
    """Seconds that go by when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def leases(queue: Queue, watch: Watch) -> Leases:
    return Leases("me", queue, SECONDS, watch)


async def test_a_lease_is_relied_on_for_four_fifths_of_it(leases: Leases, watch: Watch) -> None:
    (tenure,) = await leases.claim(1)
    watch.pass_by(0.8 * SECONDS - 0.01)
    tenure.require()
    watch.pass_by(0.02)
    with pytest.raises(FenceLostError, match="d0"):
        tenure.require()
    assert tenure.is_over


async def test_it_counts_from_when_it_was_asked_for(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    queue.meanwhile = lambda: watch.pass_by(10)
    (tenure,) = await leases.claim(1)
    watch.pass_by(2.5)
    with pytest.raises(FenceLostError):
        tenure.require()


async def test_a_renewal_too_counts_from_when_it_was_asked_for(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    (tenure,) = await leases.claim(1)
    watch.pass_by(5)
    queue.meanwhile = lambda: watch.pass_by(4)
    await leases.renew()
    assert tenure.until == pytest.approx(1000 + 5 + 0.8 * SECONDS)


async def test_all_are_renewed_in_one_batch(leases: Leases, queue: Queue, watch: Watch) -> None:
    tenures = await leases.claim(300)
    held = await leases.hold("target:staging/web")
    assert held is not None
    watch.pass_by(6)
    await leases.renew()
    (asked,) = queue.renewed
    assert asked == [one.lease for one in (*tenures, held)]


async def test_what_others_have_by_now_is_given_up_at_once(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    kept, lost = await leases.claim(2)
    queue.lost = {lost.lease}
    watch.pass_by(5)
    await leases.renew()
    kept.require()
    assert lost.is_over
    with pytest.raises(FenceLostError):
        lost.require()


async def test_before_a_long_effect_a_lease_is_renewed_where_a_third_of_it_has_gone(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    (tenure,) = await leases.claim(1)
    await tenure.assure()
    assert not queue.renewed
    watch.pass_by(SECONDS / 3 + 0.01)
    await tenure.assure()
    assert len(queue.renewed) == 1
    assert tenure.until == watch.at + 0.8 * SECONDS


async def test_a_store_that_is_away_ends_no_lease_before_its_time(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    (tenure,) = await leases.claim(1)
    queue.is_away = True
    watch.pass_by(7)
    await tenure.assure()
    watch.pass_by(5.1)
    with pytest.raises(FenceLostError):
        await tenure.assure()


async def test_a_worker_that_wakes_too_late_finds_its_lease_ended(
    leases: Leases, queue: Queue, watch: Watch
) -> None:
    (tenure,) = await leases.claim(1)
    watch.pass_by(3600)
    with pytest.raises(FenceLostError):
        await tenure.assure()
    assert not queue.renewed


async def test_what_is_given_back_is_neither_renewed_nor_relied_on(
    leases: Leases, queue: Queue
) -> None:
    first, second = await leases.claim(2)
    await leases.give_back(first)
    await leases.give_back(second, Due("d1", None))
    assert queue.released == [(first.lease, None), (second.lease, Due("d1", None))]
    await leases.renew()
    assert not queue.renewed
    with pytest.raises(FenceLostError):
        first.require()


async def test_where_the_store_is_ours_alone_a_lease_lasts(queue: Queue, watch: Watch) -> None:
    leases = Leases("me", queue, None, watch)
    (tenure,) = await leases.claim(1)
    watch.pass_by(1e9)
    await tenure.assure()
    running = asyncio.create_task(leases.run())
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not queue.renewed


async def test_left_to_itself_it_renews_when_a_third_has_gone(queue: Queue, watch: Watch) -> None:
    async with at_work(queue, watch) as leases:
        (tenure,) = await leases.claim(1)
        for renewals in (1, 2, 3):
            watch.pass_by(SHORT / 3 + 0.01)
            await until(partial(was_renewed, queue, renewals))
        tenure.require()


@pytest.mark.parametrize("fault", ["is_away", "hangs"])
async def test_left_to_itself_it_gives_up_what_cannot_be_renewed(
    queue: Queue, watch: Watch, fault: str
) -> None:
    setattr(queue, fault, True)
    async with at_work(queue, watch) as leases:
        (tenure,) = await leases.claim(1)
        watch.pass_by(SHORT / 3 + 0.01)
        await until(lambda: bool(queue.renewed))
        assert not tenure.is_over
        watch.pass_by(SHORT / 2)
        await until(lambda: tenure.is_over)


async def test_what_is_done_under_a_lease_ends_with_it(leases: Leases) -> None:
    (tenure,) = await leases.claim(1)
    carried = asyncio.create_task(tenure.while_held(asyncio.sleep(LONG)))
    await asyncio.sleep(0)
    leases.drop(tenure)
    leases.drop(tenure)
    with pytest.raises(FenceLostError, match="d0"):
        await carried


async def test_under_a_lease_that_is_over_nothing_is_waited_for(leases: Leases) -> None:
    (tenure,) = await leases.claim(1)
    leases.drop(tenure)
    with pytest.raises(FenceLostError, match="d0"):
        await tenure.while_held(asyncio.sleep(LONG))


async def test_what_was_done_before_its_lease_ended_is_done(leases: Leases) -> None:
    (tenure,) = await leases.claim(1)
    assert await tenure.while_held(asyncio.sleep(0, "done")) == "done"
    leases.drop(tenure)


async def test_a_failure_under_a_lease_stays_what_it_is(leases: Leases) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    (tenure,) = await leases.claim(1)
    with pytest.raises(TimeoutError):
        await tenure.while_held(fail())


async def test_who_is_called_off_under_a_lease_has_not_lost_it(leases: Leases) -> None:
    (tenure,) = await leases.claim(1)
    carried = asyncio.create_task(tenure.while_held(asyncio.sleep(LONG)))
    await asyncio.sleep(0)
    carried.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carried
    assert not tenure.is_over


@asynccontextmanager
async def at_work(queue: Queue, watch: Watch) -> AsyncGenerator[Leases]:
    leases = Leases("me", queue, SHORT, watch)
    running = asyncio.create_task(leases.run())
    try:
        yield leases
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def was_renewed(queue: Queue, times: int) -> bool:
    return len(queue.renewed) == times


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not claim():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)
