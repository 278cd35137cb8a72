"""F28: what is asked of a revision under traffic flaps, says nothing, or tells of another one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import TypeAdapter, ValidationError

from shipslog.domain.errors import PlatformUnavailableError
from shipslog.domain.health import HealthPolicy, HttpCheck
from shipslog.domain.language.fields import Share
from shipslog.domain.ports import Instance, ProbeAnswer, Traffic
from shipslog.domain.stages import monitor
from shipslog.domain.stages.work import Outcome, Work

START = datetime(2026, 11, 23, tzinfo=UTC)
TURNS = 10
"""Of the loop, after which whoever does not wait for the clock waits for nothing else."""
STEP = timedelta(milliseconds=50)
NEW, OLD = "new.1", "old.1"
WELL = Instance("127.0.0.1", 20_000, 1, alive=True)


class World:
    """Clock, platform and probe; time goes on only while everybody waits for it."""

    def __init__(self) -> None:
        self.at = START
        self.answers: Callable[[int], bool] = lambda _: True
        """Whether the so-manieth question is answered well."""
        self.counts: Mapping[str, Traffic] = {}
        self.fleet: Sequence[Instance] = (WELL,)
        self.is_away = False
        self.asked = 0

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        until = self.at + timedelta(seconds=seconds)
        while self.at < until:  # noqa: ASYNC110 - nobody is told that time goes on
            await asyncio.sleep(0)

    async def go_on(self) -> None:
        while True:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self.at += STEP

    async def http(self, _url: str, _expect: int, _timeout: float) -> ProbeAnswer:
        self.asked += 1
        is_well = self.answers(self.asked)
        return ProbeAnswer(is_well, "200" if is_well else "no answer", 0.0)

    async def traffic(self, _target: str) -> Mapping[str, Traffic]:
        if self.is_away:
            raise PlatformUnavailableError(detail="nobody knows")
        return self.counts

    async def instances(self, _target: str, _revision: str) -> Sequence[Instance]:
        return self.fleet


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    going = asyncio.create_task(world.go_on())
    yield world
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)


async def watched(world: World) -> Outcome:
    """Watch a new revision for ten seconds."""
    outside = SimpleNamespace(clock=world, platform=world, probe=world)
    work = SimpleNamespace(
        outside=outside,
        started_at=START,
        target=SimpleNamespace(name="staging/web"),
        new_revision=NEW,
    )
    policy = HealthPolicy(checks=(HttpCheck(path="/"),), interval=0.5)
    spec = monitor.MonitorSpec(seconds=10, policy=policy, max_error_share=500, min_requests=20)
    return await monitor.perform(spec, cast("Work", work))


def traffic(requests: int, failures: int) -> Traffic:
    """Return what a router counted; latencies decide nothing."""
    return Traffic(requests, failures, statuses={}, in_flight=0, latency_ms={"p99": float("nan")})


async def test_checks_that_flap_are_not_a_failure_before_two_in_a_row(world: World) -> None:
    world.answers = lambda asked: asked % 2 == 0
    outcome = await watched(world)
    assert (outcome.status, world.asked > 10) == ("succeeded", True)


async def test_two_in_a_row_are_one_however_well_it_was_before(world: World) -> None:
    world.answers = lambda asked: asked not in {11, 12}
    outcome = await watched(world)
    assert (outcome.status, world.asked) == ("failed", 12)
    assert "no answer" in (outcome.message or "")


async def test_without_an_instance_nothing_is_known_and_nothing_passes(world: World) -> None:
    world.fleet = ()
    assert (await watched(world)).status == "failed"


async def test_counts_that_cannot_be_had_are_no_success(world: World) -> None:
    world.is_away = True
    # Whoever performs the stage asks again until its deadline, and then calls it errored.
    with pytest.raises(PlatformUnavailableError):
        await watched(world)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        pytest.param({}, "succeeded", id="nobody-asked-it"),
        pytest.param({NEW: traffic(0, 0)}, "succeeded", id="none-yet"),
        pytest.param({NEW: traffic(19, 19)}, "succeeded", id="too-few-to-judge"),
        pytest.param({NEW: traffic(20, 2)}, "failed", id="above-the-limit"),
        pytest.param({NEW: traffic(20, 1)}, "succeeded", id="at-the-limit"),
        pytest.param({OLD: traffic(900, 900)}, "succeeded", id="of-another-revision"),
        pytest.param({OLD: traffic(900, 0), NEW: traffic(99, 99)}, "failed", id="of-both"),
    ],
)
async def test_only_its_own_requests_speak_against_a_revision(
    world: World, counts: Mapping[str, Traffic], status: str
) -> None:
    # Checks decide where too few have asked; a share of nothing is never computed.
    world.counts = counts
    assert (await watched(world)).status == status


@pytest.mark.parametrize(
    "share", ["NaN%", "nan", "inf%", "-1%", "101%", "", "%", float("nan"), 0.05, -1, 10_001]
)
def test_what_is_no_share_is_no_limit(share: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Share).validate_python(share)
