"""2,000 schedules hold every invariant and reach what they should; each can be repeated."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from shipslog.adapters.store.batch import Batch
from shipslog.domain.append import Lease

from .loop import CircleError, Process, SimulatedLoop
from .many import explained
from .schedule import run
from .shrinking import only, shrunk
from .town import Plan

ROOT = Path(__file__).parents[2]
SCHEDULES = 2_000
REPEATED = 6


def simulate(*arguments: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    """Run the simulation's own command."""
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_two_thousand_schedules_violate_nothing_and_reach_everything() -> None:
    done = simulate("--count", str(SCHEDULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_gives_the_same_run_whatever_the_order_of_hashes() -> None:
    told = [simulate("--digests", str(REPEATED), hash_seed=seed).stdout for seed in ("1", "2")]
    assert told[0] == told[1]
    assert len({line.split()[1] for line in told[0].splitlines()}) == REPEATED


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_repeats_itself_within_one_process(seed: int) -> None:
    first, again = run(Plan.of(seed)), run(Plan.of(seed))
    assert first.trace == again.trace
    assert (first.digest, first.steps) == (again.digest, again.steps)


def test_what_a_seed_decides_is_decided_up_front() -> None:
    assert Plan.of(7) == Plan.of(7)
    assert len({Plan.of(seed) for seed in range(50)}) == 50


def test_the_least_of_a_plan_that_fails_is_found() -> None:
    plan = next(one for seed in range(100) if len((one := Plan.of(seed)).faults) == 9)
    wanted = {plan.faults[2], plan.faults[5]}
    faults, wishes = shrunk(plan, lambda part: wanted <= set(part.faults))
    assert {plan.faults[n] for n in faults} == wanted
    assert (len(faults), wishes) == (2, [])


def test_a_failure_says_how_to_repeat_it() -> None:
    with without_the_token_check():
        seed = next(seed for seed in range(1, 500) if accepts_an_old_lease(seed))
        lines = list(explained(seed))
        assert f"  repeat: scripts/simulate --seed {seed}" in lines
        (line,) = [one for one in lines if "shrunk:" in one]
        *_, faults, _, wishes = line.split()
        numbers = [[int(n) for n in part.split(",") if n != "none"] for part in (faults, wishes)]
        plan = Plan.of(seed)
        assert len(numbers[0]) + len(numbers[1]) < len(plan.faults) + len(plan.wishes)
        assert run(only(plan, *numbers)).violations
    assert not run(only(plan, *numbers)).violations


def accepts_an_old_lease(seed: int) -> bool:
    return any(sentence.startswith("I11") for sentence in run(Plan.of(seed)).violations)


@contextmanager
def without_the_token_check() -> Generator[None]:
    def pass_on(_batch: Batch, _lease: Lease | None) -> None:
        """Check nothing."""

    with patch.object(Batch, "_check_owner", pass_on):
        yield


def test_a_killed_process_runs_nothing_any_more() -> None:
    loop, outside, victim = made(1), Process("outside"), Process("victim")
    said: list[str] = []

    async def live() -> None:
        try:
            said.append("lives")
            await asyncio.sleep(10)
        finally:
            said.append("says goodbye")

    async def kill() -> None:
        loop.start(victim, live())
        await asyncio.sleep(1)
        loop.kill(victim)
        await asyncio.sleep(20)
        assert said == ["lives"]

    loop.run_until(loop.start(outside, kill()))
    loop.close()


def test_a_paused_process_goes_on_with_all_that_became_due() -> None:
    loop, outside, sleeper = made(1), Process("outside"), Process("sleeper")
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(loop.time())

    async def pause() -> None:
        loop.start(sleeper, tick())
        await asyncio.sleep(2.5)
        loop.pause(sleeper)
        await asyncio.sleep(5)
        loop.resume(sleeper)
        await asyncio.sleep(1.2)

    loop.run_until(loop.start(outside, pause()))
    assert ticks == [1, 2, 7.5, 8.5]
    loop.close()


def test_within_a_process_turns_come_in_order_and_among_processes_by_the_seed() -> None:
    assert len({order_of(seed) for seed in range(20)}) > 5
    assert order_of(3) == order_of(3)
    for seed in range(20):
        mine = [n for name, n in order_of(seed) if name == "a"]
        assert mine == sorted(mine)


def made(seed: int) -> SimulatedLoop:
    return SimulatedLoop(Random(seed))  # noqa: S311 - it must be repeatable, not secret


def order_of(seed: int) -> tuple[tuple[str, int], ...]:
    loop, outside = made(seed), Process("outside")
    order: list[tuple[str, int]] = []

    async def live() -> None:
        for name in "ab":
            context = loop.within(Process(name))
            for n in range(4):
                loop.call_soon(order.append, (name, n), context=context)
        await asyncio.sleep(1)

    loop.run_until(loop.start(outside, live()))
    loop.close()
    return tuple(order)


def test_who_waits_for_nothing_is_found_out() -> None:
    loop, outside = made(1), Process("outside")

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(CircleError, match="nothing to wait for"):
        loop.run_until(loop.start(outside, wait()))
    loop.close()
