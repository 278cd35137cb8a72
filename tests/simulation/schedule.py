"""schedule: carry out the plan of a seed, and hold what came of it to the invariants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from shipslog.domain.event import Recorded

from .chance import logs_heard, seeded
from .faults import HORIZON, MOMENTS, Fault
from .loop import CircleError
from .people import PROLOGUE
from .readers import Readers
from .town import LEASE_SECONDS, Plan, Town

SETTLED_WITHIN = 900.0
"""Seconds in which everything must have ended once nothing goes wrong any more."""
VISIBLE_WITHIN = 5.0
LOOK_SECONDS = 0.5


@dataclass
class Outcome:
    """What came of a schedule."""

    plan: Plan
    violations: list[str]
    trace: list[str]
    digest: str
    steps: int
    events: int
    seconds: float
    """Virtual ones."""
    reached: Counter[str] = field(default_factory=Counter[str])
    log: list[Recorded] = field(default_factory=list[Recorded])


def run(plan: Plan) -> Outcome:
    """Carry out a plan; the same plan gives the same outcome, to the last step."""
    town = Town(plan, _prologue(is_shared=plan.workers > 0))
    began, first = town.loop.time(), len(town.server.rows) + 1
    _carry_out(town, _drive(town))
    town.watch.note_marks(first)
    trace = town.watch.trace
    trace.append(f"{town.loop.steps} steps")
    return Outcome(
        plan,
        town.watch.violations,
        trace,
        town.watch.digest(),
        town.loop.steps,
        len(town.server.rows),
        town.loop.time() - began,
        town.reached,
        town.server.rows,
    )


@cache
def _prologue(*, is_shared: bool) -> Town:
    """Return a town with a history: three healthy versions, nothing under way."""
    plan = Plan(0, 1 if is_shared else 0, (), tuple(PROLOGUE))
    town = Town(plan)

    async def live() -> None:
        town.begin()
        await town.people.define()
        await _drive(town)

    _carry_out(town, live())
    if town.watch.violations:
        raise AssertionError("\n".join(town.watch.violations))
    return town


def _carry_out(town: Town, life: Coroutine[Any, Any, None]) -> None:
    def complain(sentence: str) -> None:
        # What is taken apart at the end may say what it likes.
        if not town.loop.is_closed():
            town.watch.complain(sentence)

    with seeded(town.plan.seed, town.loop.time), logs_heard(complain):
        main = town.loop.start(town.outside, life)
        try:
            town.loop.run_until(main)
            main.result()
        except CircleError as error:
            town.watch.complain(f"liveness: {error}")
        finally:
            town.loop.close()
    for sentence in (*town.loop.complaints, *town.people.complaints):
        town.watch.complain(sentence)


async def _drive(town: Town) -> None:
    if not town.members:
        town.begin()
    moments = [one for one in town.plan.faults if one.kind in MOMENTS]
    until = town.loop.time() + HORIZON
    await asyncio.gather(
        town.people.act(town.plan.wishes), *(_strike_at(town, one) for one in moments)
    )
    # Those that strike at a call need calls that they can strike at.
    while len(moments) < len(town.plan.faults) and town.loop.time() < until:
        if not town.watch.under_way:
            break
        await asyncio.sleep(LOOK_SECONDS)
    town.watch.note("peace")
    town.make_peace()
    await _settle(town)
    town.watch.at_the_end(town.world, town.people.answered)
    if town.readers:
        await _settle_readers(town, town.readers)


async def _settle(town: Town) -> None:
    until = town.loop.time() + SETTLED_WITHIN
    while town.loop.time() < until:
        is_quiet = not town.watch.under_way and not town.world.on_its_way
        if is_quiet and not any(town.watch.differences(town.world)):
            return
        await asyncio.sleep(LOOK_SECONDS)
    for stream in sorted(town.watch.under_way):
        row = town.server.work.get(stream)
        town.watch.complain(f"liveness: {stream} has not ended by itself: {row}")


async def _settle_readers(town: Town, readers: Readers) -> None:
    until = town.loop.time() + VISIBLE_WITHIN
    while not readers.is_at(town.server.durable):
        if town.loop.time() >= until:
            town.watch.complain("liveness: the read models have not reached the head")
            return
        await asyncio.sleep(LOOK_SECONDS)
    for sentence in readers.violations(town.server.rows[: town.server.durable]):
        town.watch.complain(sentence)
    town.reached["poison contained"] += readers.has_stopped


async def _strike_at(town: Town, fault: Fault) -> None:
    await asyncio.sleep(fault.at)
    town.watch.note(f"fault {fault}")
    await _STRIKE[fault.kind](town, fault)


def _worker(town: Town, fault: Fault) -> str:
    return f"worker-{fault.whom % town.plan.workers}" if town.plan.workers else "api"


async def _kill_worker(town: Town, fault: Fault) -> None:
    await _kill(town, [_worker(town, fault)], fault)


async def _kill_api(town: Town, fault: Fault) -> None:
    await _kill(town, ["api"], fault)


async def _kill_everything(town: Town, fault: Fault) -> None:
    town.world.die()
    await _kill(town, list(town.members), fault)


async def _kill(town: Town, names: list[str], fault: Fault) -> None:
    town.reached[fault.kind] += 1
    for name in names:
        town.kill(name)
    await asyncio.sleep(fault.much)
    for name in names:
        town.revive(name)


async def _stop_worker(town: Town, fault: Fault) -> None:
    town.reached[fault.kind] += 1
    name = _worker(town, fault)
    await town.stop(name)
    await asyncio.sleep(fault.much)
    town.revive(name)


async def _pause_worker(town: Town, fault: Fault) -> None:
    await _pause(town, _worker(town, fault), fault)


async def _pause_api(town: Town, fault: Fault) -> None:
    await _pause(town, "api", fault)


async def _pause(town: Town, name: str, fault: Fault) -> None:
    process = town.members[name].process
    if process.is_paused or process.is_dead:
        return
    town.reached[fault.kind] += 1
    town.reached["paused beyond the lease"] += fault.much > LEASE_SECONDS
    town.loop.pause(process)
    await asyncio.sleep(fault.much)
    if process.is_paused:
        town.loop.resume(process)


async def _kill_agent(town: Town, fault: Fault) -> None:
    town.reached[fault.kind] += 1
    town.world.die()


async def _crash_store(town: Town, fault: Fault) -> None:
    town.reached[fault.kind] += 1
    if not town.plan.workers:
        return await _kill(town, ["api"], fault)
    town.server.crash()
    return None


async def _step_clock(town: Town, fault: Fault) -> None:
    town.reached[f"clock {'forwards' if fault.much > 0 else 'backwards'}"] += 1
    town.step_clock([*town.members][fault.whom % len(town.members)], fault.much)


async def _instance_dies(town: Town, fault: Fault) -> None:
    town.reached[fault.kind] += town.world.lose(fault.whom)


def _window(name: str) -> Callable[[Town, Fault], Awaitable[None]]:
    async def begin(town: Town, fault: Fault) -> None:
        town.reached[fault.kind] += 1
        setattr(town.weather, name, town.loop.time() + fault.much)
        await asyncio.sleep(fault.much)

    return begin


_STRIKE: dict[str, Callable[[Town, Fault], Awaitable[None]]] = {
    "kill worker": _kill_worker,
    "stop worker": _stop_worker,
    "pause worker": _pause_worker,
    "kill agent": _kill_agent,
    "kill api": _kill_api,
    "pause api": _pause_api,
    "kill everything": _kill_everything,
    "crash store": _crash_store,
    "step clock": _step_clock,
    "nudge clock": _step_clock,
    "instance dies": _instance_dies,
    "sick": _window("sick_until"),
    "platform down": _window("down_until"),
    "address taken": _window("taken_until"),
    "store slow": _window("slow_until"),
    "store cut": _window("cut_until"),
    "deaf": _window("deaf_until"),
}
