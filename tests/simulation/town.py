"""Town: one schedule; the real engine in simulated processes on a simulated world.

What is real: door, streams, aggregates, process managers, worker, owners, attempts, keeper,
restorer, follower and read models. What is simulated: time, processes, store, platform, probes,
people and faults.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from shipslog.api.worker.claims import Worker
from shipslog.api.worker.keeper import Keeper
from shipslog.api.worker.leases import Leases
from shipslog.api.worker.owner import Workshop
from shipslog.api.worker.restorer import Restorer
from shipslog.domain.commands import Command
from shipslog.domain.deployment import Deployment
from shipslog.domain.environment import Environment
from shipslog.domain.errors import OutcomeUnknownError
from shipslog.domain.event import Sealed
from shipslog.domain.ledger import Door, Receipt
from shipslog.domain.stages import Outside
from shipslog.domain.target import Target

from . import faults, people
from .fakes.server import FakeServer
from .fakes.store import FakeStore
from .fakes.world import FakePlatform
from .faults import Fault, SimulatedWeather
from .loop import PROCESS, Process, SimulatedLoop
from .people import ALICE, TARGETS, People, Wish
from .readers import Readers
from .watch import Watch

BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)
LEASE_SECONDS = 6.0
READERS_SHARE = 0.02
"""How many of the schedules have read models too: they cost as much as all the rest."""
DRAIN_SECONDS = 20.0
AGAIN_SECONDS = 9.0
"""After which who has died of what it sent begins again: by then nobody has its lease."""
SYSTEM = "sub_system"


class ProcessClock:
    """Implements `Clock` for one process: its host's wall clock can be wrong."""

    def __init__(self, loop: SimulatedLoop, process: Process) -> None:
        self._loop = loop
        self._process = process

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=round(self._loop.time() + self._process.skew, 6))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Cupboard:
    """Seals nothing and knows every secret."""

    async def seal(self, subject: str, text: str) -> Sealed:
        return Sealed(key=subject, nonce="", ciphertext=text)

    def resolve(self, reference: str) -> str:
        return reference


@dataclass(frozen=True)
class Plan:
    """Everything that a seed decides before the first step."""

    seed: int
    workers: int
    """0: everything in one process, on the embedded store."""
    faults: tuple[Fault, ...]
    wishes: tuple[Wish, ...]
    has_readers: bool = False

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Draw the plan of a seed."""
        rng = Random(f"plan of {seed}")  # noqa: S311 - it must be repeatable, not secret
        workers = rng.choice((0, 1, 2, 2, 3))
        wrong, wishes = tuple(faults.drawn(rng)), tuple(people.drawn(rng))
        has_poison = any(fault.kind == "poison" for fault in wrong)
        return cls(seed, workers, wrong, wishes, has_poison or rng.random() < READERS_SHARE)


@dataclass
class Member:
    """A process with what stands in it."""

    process: Process
    store: FakeStore
    door: Door
    main: asyncio.Task[Any] | None = None
    drains: tuple[Worker | Restorer, ...] = ()
    """What gives back what it holds when the process is told to end."""


class Town:
    """Everything that one schedule is made of."""

    def __init__(self, plan: Plan, before: Town | None = None) -> None:
        self.plan = plan
        self.reached: Counter[str] = Counter()
        chance = Random(f"steps of {plan.seed}")  # noqa: S311
        self.loop: SimulatedLoop = SimulatedLoop(chance, before.loop.time() if before else 0.0)
        self.outside = Process("outside")
        self.weather = SimulatedWeather(chance, plan.faults, self.reached)
        self.weather.time = self.loop.time
        self.watch = Watch(self.loop.time, self.reached)
        self.world = FakePlatform(self.weather, self._now, self.watch)
        lease = LEASE_SECONDS if plan.workers else None
        self.server = FakeServer(lease, self.weather, self.watch)
        if before is not None:
            self.server.adopt(before.server)
            self.world.adopt(before.world)
        self.watch.server = self.server
        self.server.context = self.world.context = self.loop.within(self.outside)
        self.world.when_late = self.server.when_late = self._lose_sender
        self.world.when_caught = self._catch_sender
        self.people = People(self._ask, self.reached)
        self.members: dict[str, Member] = {}
        self.lives: Counter[str] = Counter()
        self.skews: dict[str, float] = {}
        """By process: how far the wall clock of its host is ahead."""
        self.readers: Readers | None = None
        if plan.has_readers:
            first = len(self.server.rows) + 1
            poison = [(f.whom, first + int(f.at)) for f in plan.faults if f.kind == "poison"]
            self.readers = Readers(poison, self.server.rows)
        if before is not None:
            self.people.deployments += before.people.deployments

    def _now(self) -> datetime:
        return BEGAN + timedelta(seconds=round(self.loop.time() + self.outside.skew, 6))

    def begin(self) -> None:
        """Start every process."""
        followers = ("views",) if self.readers and self.plan.workers else ()
        for name in ("api", *followers, *(f"worker-{n}" for n in range(self.plan.workers))):
            self.start(name)

    def start(self, name: str) -> None:
        """Begin a process anew: it knows nothing but what is stored."""
        self.lives[name] += 1
        process = Process(f"{name}.{self.lives[name]}")
        process.skew = self.skews.get(name, 0.0)
        clock = ProcessClock(self.loop, process)
        context = self.loop.within(process)
        store = FakeStore(self.server, clock.now)
        store.hints = context
        member = Member(process, store, Door(store, clock, Cupboard()))
        self.members[name] = member
        if self.readers and name == ("views" if self.plan.workers else "api"):
            self.loop.start(process, self.readers.follow(store))
        if name.startswith("worker") or not self.plan.workers:
            member.main = self.loop.start(process, self._work(member, clock))
            member.main.add_done_callback(self._ended)
        self.watch.note(f"{process} begins")

    async def _work(self, member: Member, clock: ProcessClock) -> None:
        outside = Outside(self.world, self.world, Cupboard(), member.store, clock)
        shop = Workshop(member.store, member.door.streams, outside, SYSTEM, self._on_end)
        lease_seconds = self.server.lease_seconds
        leases = Leases(member.process.name, member.store, lease_seconds, self.loop.time)
        keeper = Keeper(shop)
        worker = Worker(leases, shop, keeper)
        restorer = Restorer(leases, clock, keeper, _names)
        member.drains = (worker, restorer) if lease_seconds is not None else ()
        await asyncio.gather(leases.run(), worker.run(), restorer.run())

    def _ended(self, main: asyncio.Task[Any]) -> None:
        if not main.cancelled() and not self.loop.is_closed():
            self.watch.complain(f"liveness: a worker has given up: {main.exception()!r}")

    def _on_end(self, deployment: Deployment, target: Target, where: Environment) -> None:
        """Take no notice of a deployment's end."""

    async def _ask(self, command: Command, key: str) -> Receipt:
        """Ask the API, wherever it lives now; a dead one never answers."""
        if self.members["api"].process.is_dead:
            raise OutcomeUnknownError
        api = self.members["api"]
        asked = self.loop.start(api.process, api.door.carry_out(command, ALICE, key=key))
        return await asyncio.shield(asked)

    def kill(self, name: str) -> None:
        """End a process as kill -9 does."""
        member = self.members[name]
        if not member.process.is_dead:
            self.loop.kill(member.process)
            member.store.is_gone = True
            member.store.leave()
            self.watch.note(f"{member.process} is killed")

    def revive(self, name: str) -> None:
        """Begin a process again if it is dead."""
        if self.members[name].process.is_dead:
            self.start(name)

    def _lose_sender(self) -> None:
        name = PROCESS.get().name.partition(".")[0]
        self.kill(name)
        context = self.server.context
        self.loop.call_later(AGAIN_SECONDS, self.revive, name, context=context)

    def _catch_sender(self) -> None:
        """Let who is just about to send stand still until others have what it had."""
        process = PROCESS.get()
        self.watch.note(f"{process} is caught as it sends")
        self.loop.pause(process)
        context = self.server.context
        said = [one.much for one in self.plan.faults if one.kind == "sender caught" and one.much]
        seconds = said[0] if said else AGAIN_SECONDS
        self.loop.call_later(seconds, self._let_go, process, context=context)

    def _let_go(self, process: Process) -> None:
        if process.is_paused:
            self.loop.resume(process)

    async def stop(self, name: str) -> None:
        """End a worker in good order, as SIGTERM does."""
        member = self.members[name]
        if member.main is None or member.process.is_dead:
            return
        self.watch.note(f"{member.process} is told to end")
        ending = self.loop.start(member.process, _end(member, member.main))
        await asyncio.wait([ending], timeout=2 * DRAIN_SECONDS)
        self.kill(name)

    def step_clock(self, name: str, seconds: float) -> None:
        """Set a host's wall clock forwards or backwards."""
        self.skews[name] = self.skews.get(name, 0.0) + seconds
        self.members[name].process.skew = self.skews[name]

    def make_peace(self) -> None:
        """Let nothing go wrong any more, and everything that was lost come back."""
        self.weather.is_calm = True
        for name, member in self.members.items():
            self.step_clock(name, -self.skews.get(name, 0.0))
            if member.process.is_paused:
                self.loop.resume(member.process)
        for name in tuple(self.members):
            self.revive(name)


async def _end(member: Member, main: asyncio.Task[Any]) -> None:
    await asyncio.gather(*(part.drain(DRAIN_SECONDS) for part in member.drains))
    main.cancel()
    await asyncio.wait([main])


async def _names() -> tuple[str, ...]:
    return TARGETS
