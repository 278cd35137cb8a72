"""A platform in memory: it keeps the port's promises, stops where a test wants, and can die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from shipslog.domain.errors import (
    FenceRefusedError,
    PlatformUnavailableError,
    StateConflictError,
)
from shipslog.domain.event import Fence
from shipslog.domain.ports import (
    Effect,
    Ended,
    FenceClass,
    Instance,
    Launch,
    ProbeAnswer,
    RevisionSpec,
    Route,
    Traffic,
)

Result = TypeVar("Result")
Place = tuple[str, str]
"""A verb, and whether `before` or `after` its effect."""

WELL = Ended(0, None, timed_out=False, output=b"done\n", truncated=False)
STOPPED = Ended(None, 15, timed_out=False, output=b"", truncated=False)
LOST = Ended(None, None, timed_out=False, output=b"", truncated=False, lost=True)
HOST = "127.0.0.1"


@dataclass
class Gate:
    """Where one call waits until it is opened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


class Machine:
    """Platform and probe; what it journals outlives its death, as on a disk."""

    def __init__(self) -> None:
        self.fleets: dict[Place, list[Instance]] = {}
        self.routes: dict[str, Route] = {}
        self.routed_to: list[str] = []
        """Every revision that a route was set to, in order."""
        self.started: Counter[str] = Counter()
        """How often each effect key has started a command."""
        self.highest: dict[str, Fence] = {}
        self.sick: set[str] = set()
        """Revisions that fail their checks."""
        self.keys: dict[int, str] = {}
        """The effect that started what listens on a port."""
        self.stillborn = range(0)
        """Ports: what is started there ends at once."""
        self.fence_class = FenceClass.FENCED
        self.missed = 0
        """How many of the next checks fail."""
        self._journal: dict[str, Ended | None] = {}
        self._running: dict[str, asyncio.Task[Ended]] = {}
        self._retiring: set[Place] = set()
        self._gates: dict[Place, Gate] = {}
        self._all: list[Gate] = []
        self._ports = count(20_000)
        self._life = 0

    def gate(self, verb: str, when: str = "before") -> Gate:
        """Let the next call wait at a place."""
        gate = self._gates[verb, when] = Gate()
        self._all.append(gate)
        return gate

    def open(self) -> None:
        """Let everybody pass."""
        for gate in self._all:
            gate.opened.set()
        self._gates = {}

    def die(self) -> None:
        """Lose everything but the journal, and every call under way; it rises at the next one."""
        self._life += 1
        self.fleets, self.routes = {}, {}
        for task in self._running.values():
            task.cancel()
        self._running = {}
        self._retiring = set()
        self.open()

    def lose(self, target: str, revision: str) -> None:
        """End one instance of a revision."""
        fleet = self.fleets[target, revision]
        fleet[0] = Instance(HOST, fleet[0].port, fleet[0].pid, alive=False, exit_code=1)

    async def announce(self, target: str, fence: Fence) -> None:
        life = self._life
        await self._stand_at("announce", "before")
        self._must_live(life)
        self._admit(target, fence)

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        del workspace, source
        await self._call("prepare", effect, lambda: None)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        del launch
        key = str(effect.key)
        await self._call("run", effect, lambda: self._begin(key))
        if ended := self._journal[key]:
            return ended
        if key not in self._running:
            return LOST
        try:
            return await asyncio.shield(self._running[key])
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            raise PlatformUnavailableError(detail="it died") from None

    async def stop(self, effect: Effect) -> None:
        key = str(effect.key)

        def end() -> None:
            if task := self._running.pop(key, None):
                task.cancel()
            self._journal[key] = self._journal.get(key) or STOPPED

        await self._call("stop", effect, end)

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        def begin() -> Sequence[Instance]:
            place = (effect.target, spec.revision)
            key = self._open_key(effect)
            self._retiring.discard(place)
            kept = [
                one
                for one in self.fleets.get(place, ())
                if one.alive or self.keys.get(one.port) == key
            ]
            fresh = [self._fresh(key) for _ in range(spec.capacity - len(kept))]
            self.fleets[place] = [*kept, *fresh]
            return tuple(self.fleets[place])

        return await self._call("start", effect, begin)

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        return tuple(self.fleets.get((target, revision), ()))

    async def route(self, effect: Effect, route: Route) -> None:
        def change() -> None:
            self._open_key(effect)
            for revision in route.weights:
                assert (effect.target, revision) in self.fleets, f"{revision} was never started"
            self.routes[effect.target] = route
            self.routed_to += route.weights

        await self._call("route", effect, change)

    async def routed(self, target: str) -> Route | None:
        return self.routes.get(target)

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        del drain
        place = (effect.target, revision)
        self._retiring.add(place)

        def end() -> None:
            self._open_key(effect)
            route = self.routes.get(effect.target)
            if place not in self._retiring or (route and revision in route.weights):
                message = f"{revision} is in use"
                raise StateConflictError(message)
            self.fleets.pop(place, None)

        await self._call("retire", effect, end)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        del target
        return {}

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        del target, deployments

    async def http(self, url: str, expect: int, timeout: float) -> ProbeAnswer:
        del expect, timeout
        await self._stand_at("probe", "before")
        port = int(url.split(":")[2].partition("/")[0])
        answers = {
            one.port: revision
            for (_, revision), fleet in self.fleets.items()
            for one in fleet
            if one.alive
        }
        if self.missed:
            self.missed -= 1
            return ProbeAnswer(passed=False, detail="missed", seconds=0.0)
        served = port not in range(20_000, 30_000) or port in answers
        return ProbeAnswer(served and answers.get(port) not in self.sick, "asked", 0.0)

    async def tcp(self, host: str, port: int, timeout: float) -> ProbeAnswer:
        return await self.http(f"http://{host}:{port}/", 200, timeout)

    def _begin(self, key: str) -> None:
        if key not in self._journal:
            self._journal[key] = None
            self.started[key] += 1
            self._running[key] = asyncio.create_task(self._work(key))

    async def _work(self, key: str) -> Ended:
        await self._stand_at(key.split("/")[1], "before")
        self._journal[key] = WELL
        del self._running[key]
        return WELL

    def _fresh(self, key: str) -> Instance:
        port = next(self._ports)
        self.keys[port] = key
        return Instance(HOST, port, port, alive=port not in self.stillborn)

    async def _call(self, verb: str, effect: Effect, act: Callable[[], Result]) -> Result:
        life = self._life
        await self._stand_at(verb, "before")
        self._must_live(life)
        self._admit(effect.target, effect.fence)
        result = act()
        await self._stand_at(verb, "after")
        self._must_live(life)
        return result

    def _admit(self, target: str, fence: Fence) -> None:
        if fence < self.highest.get(target, fence):
            raise FenceRefusedError(target=target, fence=str(fence))
        self.highest[target] = fence

    def _open_key(self, effect: Effect) -> str:
        """Return the key of what starts no command, unless it was stopped."""
        if str(effect.key) in self._journal:
            message = f"{effect.key} was stopped"
            raise StateConflictError(message)
        return str(effect.key)

    async def _stand_at(self, verb: str, when: str) -> None:
        if gate := self._gates.pop((verb, when), None):
            gate.reached.set()
            await gate.opened.wait()

    def _must_live(self, life: int) -> None:
        if life != self._life:
            raise PlatformUnavailableError(detail="it died")
