"""FakePlatform: hosts, their agent and what runs there, in memory; it notes every effect it had.

It keeps the port's promises as the agent does: a lower fence is refused, an effect key starts a
command once, a key that was stopped does nothing more, what is known of a key outlives the agent
and what runs does not. The first number of a version says how it behaves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple, TypeVar, cast

from shipslog.domain.errors import (
    AddressTakenError,
    FenceRefusedError,
    PlatformUnavailableError,
    RefusedError,
    StateConflictError,
)
from shipslog.domain.event import Fence
from shipslog.domain.ports import (
    Effect,
    EffectKey,
    Ended,
    FenceClass,
    Instance,
    Launch,
    ProbeAnswer,
    RevisionSpec,
    Route,
    Traffic,
)

from .server import Weather

HOST = "10.0.0.1"
WORK = "work"
"""The one command there is."""
UNDONE = ("start", "route", "retire")
"""What is undone, and must not come after that."""
ANNOUNCED = "announced"
"""In the place of a stage where somebody says that it has taken over."""
FIRST_PORT = 20_000
ALL = 10_000
SICK, SICK_LATER, STILLBORN, SHORT, ERRING = "2", "3", "4", "5", "6"
"""Versions: fails its checks; fails them once routed; never starts; dies soon; answers 5xx."""
ANSWER_WITHIN = 30.0
"""What a call gets beyond its deadline before its caller gives it up."""
LATE_SECONDS = 7.5
"""How long a request is on its way whose sender has died."""
OVERTAKEN_SECONDS = 3.0
"""How long one is on its way that takes its time while its sender lives."""
SHORT_SECONDS = 0.7
MOST_DRAIN = 0.3

Result = TypeVar("Result")


def ended(exit_code: int | None = 0, **said: Any) -> Ended:
    """Return how a command ended."""
    plain: dict[str, Any] = {
        "signal": None,
        "timed_out": False,
        "output": b"",
        "truncated": False,
    }
    return Ended(exit_code, **(plain | said))


LOST = ended(None, lost=True)
KILLED = ended(None, signal=9, timed_out=True)
STOPPED = ended(None, signal=15)


class Done(NamedTuple):
    """An effect that the platform has had."""

    at: float
    verb: str
    effect: Effect
    what: str


class Watcher:
    """Is told of every effect, before and after."""

    def sent(self, verb: str, effect: Effect) -> None:
        """Learn what somebody asks for, at the moment in which it leaves."""

    def refused(self, verb: str, effect: Effect) -> None:
        """Learn that an old fence was refused."""

    def stopped(self, verb: str, effect: Effect) -> None:
        """Learn that something was refused whose key was stopped before it came."""

    def done(self, done: Done) -> None:
        """Learn what has taken effect."""


class _Running(NamedTuple):
    effect: Effect
    end: asyncio.Future[Ended]


class FakePlatform:
    """Implements `Platform` and `Probe`."""

    def __init__(self, weather: Weather, now: Callable[[], datetime], watcher: Watcher) -> None:
        self.context: Context | None = None
        self.fence_class = FenceClass.FENCED
        self.fleets: dict[tuple[str, str], list[Instance]] = {}
        self.routes: dict[str, Route] = {}
        self.starts: Counter[str] = Counter()
        """How often each effect key has started a command."""
        self.fences: dict[str, Fence] = {}
        self.when_late: Callable[[], None] = lambda: None
        """Called by who sends a request that will come late: it dies of it."""
        self.when_caught: Callable[[], None] = lambda: None
        """Called by who has made sure of its lease and has not sent yet: it stands still now."""
        self.on_its_way = 0
        """How many requests were sent and have not arrived."""
        self._weather = weather
        self._now = now
        self._watcher = watcher
        self._journal: dict[str, Ended | None] = {}
        self._running: dict[str, _Running] = {}
        self._retiring: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._made: dict[int, tuple[str, str, str]] = {}
        """By port: target, version and effect key of what was started there."""
        self._ports = count(FIRST_PORT)
        self._life = 0

    def die(self) -> None:
        """End the agent: what runs is gone, the journal and the fences stay."""
        self._life += 1
        self.fleets, self.routes = {}, {}
        for running in self._running.values():
            _fail(running.end)
        for retiring in self._retiring.values():
            _fail(retiring)
        self._running, self._retiring = {}, {}

    def adopt(self, other: FakePlatform) -> None:
        """Begin as another one stands, without what runs to an end there."""
        self.fleets = {place: list(fleet) for place, fleet in other.fleets.items()}
        self.routes, self.fences = dict(other.routes), dict(other.fences)
        self.starts, self._journal = Counter(other.starts), dict(other._journal)
        self._made, self._ports = dict(other._made), count(FIRST_PORT + len(other._made))

    def lose(self, index: int) -> bool:
        """End one instance, counted round; say whether there was one."""
        alive = [one for fleet in self.fleets.values() for one in fleet if one.alive]
        if not alive:
            return False
        self._end(alive[index % len(alive)].port)
        return True

    def alive(self, target: str) -> dict[str, int]:
        """Return how many instances of each revision run."""
        counts = {
            name: sum(one.alive for one in fleet)
            for (where, name), fleet in self.fleets.items()
            if where == target
        }
        return {name: number for name, number in counts.items() if number}

    def is_retiring(self, revision: str) -> bool:
        """Say whether a revision finishes what it has."""
        return any(name == revision for _, name in self._retiring)

    async def announce(self, target: str, fence: Fence) -> None:
        """Implement `Platform.announce`; here everything that was let pass has come to its end."""
        deadline = self._now() + timedelta(seconds=ANSWER_WITHIN)
        effect = Effect(EffectKey("", ANNOUNCED, 0), target, fence, deadline)
        await self._call("announce", effect, lambda: None)

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """Implement `Platform.prepare`."""
        del workspace, source
        await self._call("prepare", effect, lambda: None)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """Implement `Platform.run`; the command says how long it takes and how it ends."""
        found = await self._call("run", effect, lambda: self._begin(effect, launch))
        return found if isinstance(found, Ended) else await asyncio.shield(found)

    async def stop(self, effect: Effect) -> None:
        """Implement `Platform.stop`."""
        key = str(effect.key)

        def end() -> None:
            running = self._running.get(key)
            if running:
                self._finish(key, STOPPED)
            else:
                self._journal.setdefault(key, ended(None, error="stopped before it was started"))

        await self._call("stop", effect, end)

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """Implement `Platform.start`."""
        return await self._call("start", effect, lambda: self._started(effect, spec))

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """Implement `Platform.instances`."""
        return await self._look(lambda: tuple(self.fleets.get((target, revision), ())))

    async def route(self, effect: Effect, route: Route) -> None:
        """Implement `Platform.route`."""

        def change() -> None:
            self._require_open("route", effect)
            if self._weather.strike("address"):
                raise AddressTakenError(address=route.listen, detail="somebody else is there")
            if route.weights and sum(route.weights.values()) != ALL:
                raise RefusedError(detail="the weights do not sum to 100 %")
            if gone := [r for r in route.weights if (effect.target, r) not in self.fleets]:
                raise RefusedError(detail=f"{gone[0]} was never started")
            self.routes[effect.target] = route

        await self._call("route", effect, change, what=",".join(route.weights))

    async def routed(self, target: str) -> Route | None:
        """Implement `Platform.routed`."""
        return await self._look(lambda: self.routes.get(target))

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """Implement `Platform.retire`."""
        place = (effect.target, revision)

        def begin() -> asyncio.Future[None] | None:
            self._require_open("retire", effect)
            if place not in self.fleets:
                return None
            if place not in self._retiring:
                self._retiring[place] = asyncio.get_running_loop().create_future()
                seconds = min(drain, MOST_DRAIN)
                asyncio.get_running_loop().call_later(
                    seconds, self._retired, place, self._retiring[place], context=self.context
                )
            return self._retiring[place]

        draining = await self._call("retire", effect, begin, what=revision)
        if draining:
            await asyncio.shield(draining)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """Implement `Platform.traffic`."""
        route = await self._look(lambda: self.routes.get(target))
        return (
            {revision: self._traffic(target, revision) for revision in route.weights}
            if route
            else {}
        )

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """Implement `Platform.forget`."""
        del target, deployments

    async def http(self, url: str, expect: int, timeout: float) -> ProbeAnswer:
        """Implement `Probe.http`."""
        del expect
        host, _, rest = url.removeprefix("http://").partition(":")
        return await self.tcp(host, int(rest.partition("/")[0]), timeout)

    async def tcp(self, host: str, port: int, timeout: float) -> ProbeAnswer:
        """Implement `Probe.tcp`."""
        seconds = self._weather.delay("probe")
        await asyncio.sleep(min(seconds, timeout))
        if self._weather.strike("probe") or seconds > timeout:
            return ProbeAnswer(passed=False, detail="no answer", seconds=seconds)
        passed = self._is_well(port) if port >= FIRST_PORT else self._serves(f"{host}:{port}")
        return ProbeAnswer(passed, "asked", seconds)

    def _begin(self, effect: Effect, launch: Launch) -> Ended | asyncio.Future[Ended]:
        key = str(effect.key)
        if key in self._running:
            return self._running[key].end
        if key in self._journal:
            return self._journal[key] or LOST
        left = (effect.deadline - self._now()).total_seconds()
        if left <= 0:
            self._journal[key] = ended(None, timed_out=True)
            return ended(None, timed_out=True)
        self._journal[key] = None
        self.starts[key] += 1
        seconds, how = _script(launch)
        loop = asyncio.get_running_loop()
        running = self._running[key] = _Running(effect, loop.create_future())
        verdict = ended(1) if how == "fails" else ended()
        if seconds > left or how == "hangs":
            seconds, verdict = left, KILLED
        loop.call_later(seconds, self._finish, key, verdict, running, context=self.context)
        return running.end

    def _finish(self, key: str, how: Ended, running: _Running | None = None) -> None:
        if running is not None and self._running.get(key) is not running:
            return
        found = self._running.pop(key)
        self._journal[key] = how
        if not found.end.done():
            found.end.set_result(how)

    def _started(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        self._require_open("start", effect)
        place, key = (effect.target, spec.revision), str(effect.key)
        if (retiring := self._retiring.pop(place, None)) and not retiring.done():
            retiring.set_exception(StateConflictError(f"{spec.revision} was started again"))
            retiring.exception()
        fleet = self.fleets.get(place, [])
        kept = [one for one in fleet if one.alive or self._made[one.port][2] == key]
        for _ in range(spec.capacity - len(kept)):
            port = next(self._ports)
            self._made[port] = (effect.target, spec.version, key)
            is_alive = spec.version[0] != STILLBORN
            kept.append(
                Instance(HOST, port, port, alive=is_alive, exit_code=None if is_alive else 127)
            )
            if spec.version[0] == SHORT:
                loop = asyncio.get_running_loop()
                loop.call_later(SHORT_SECONDS, self._end, port, context=self.context)
        self.fleets[place] = kept
        return tuple(kept)

    def _require_open(self, verb: str, effect: Effect) -> None:
        if str(effect.key) in self._journal:
            self._watcher.stopped(verb, effect)
            message = f"{effect.key} was stopped"
            raise StateConflictError(message)

    def _end(self, port: int) -> None:
        for place, fleet in self.fleets.items():
            self.fleets[place] = [
                Instance(HOST, one.port, one.pid, alive=False, exit_code=1)
                if one.port == port
                else one
                for one in fleet
            ]

    def _retired(self, place: tuple[str, str], retiring: asyncio.Future[None]) -> None:
        if self._retiring.get(place) is not retiring:
            return
        del self._retiring[place]
        route = self.routes.get(place[0])
        if route and place[1] in route.weights:
            retiring.set_exception(StateConflictError(f"{place[1]} is routed"))
            retiring.exception()
            return
        self.fleets.pop(place, None)
        retiring.set_result(None)

    def _traffic(self, target: str, revision: str) -> Traffic:
        fleet = self.fleets.get((target, revision), [])
        erring = any(self._made[one.port][1][0] == ERRING for one in fleet)
        return Traffic(100, 50 if erring else 0, {}, 0, {})

    def _is_well(self, port: int) -> bool:
        for (target, revision), fleet in self.fleets.items():
            if any(one.port == port and one.alive for one in fleet):
                route = self.routes.get(target)
                is_routed = route is not None and revision in route.weights
                kind = self._made[port][1][0]
                return kind != SICK and not (kind == SICK_LATER and is_routed)
        return False

    def _serves(self, listen: str) -> bool:
        return any(
            self._is_well(one.port)
            for target, route in self.routes.items()
            if route.listen == listen
            for revision in route.weights
            for one in self.fleets.get((target, revision), ())
        )

    async def _look(self, look: Callable[[], Result]) -> Result:
        if seconds := self._weather.delay("look"):
            await asyncio.sleep(seconds)
        if trouble := self._weather.strike("platform"):
            if trouble == "hangs":
                await asyncio.sleep(ANSWER_WITHIN)
            raise PlatformUnavailableError(detail="no answer")
        return look()

    async def _call(
        self, verb: str, effect: Effect, act: Callable[[], Result], *, what: str = ""
    ) -> Result:
        self._watcher.sent(verb, effect)
        if verb != "announce" and self._weather.strike("catch"):
            self.when_caught()
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()

        def arrive() -> None:
            self.on_its_way -= 1
            # Whether or not its caller is still there: what was sent arrives.
            trouble = self._weather.strike("platform")
            outcome = self._outcome(Done(loop.time(), verb, effect, what), act, trouble)
            later = self._weather.delay("reply")
            if trouble == "hangs":
                left = (effect.deadline - self._now()).total_seconds()
                later = max(left, 0.0) + ANSWER_WITHIN
            loop.call_later(later, self._reply, answer, outcome, self._life, context=self.context)

        seconds = self._weather.delay("send")
        if self._weather.strike("send"):
            seconds += LATE_SECONDS
            self.when_late()
        if verb in UNDONE and self._weather.strike("overtake"):
            seconds += OVERTAKEN_SECONDS
        self.on_its_way += 1
        loop.call_later(seconds, arrive, context=self.context)
        return await answer

    def _outcome(
        self, done: Done, act: Callable[[], Result], trouble: str | None
    ) -> Result | Exception:
        effect = done.effect
        if trouble == "down":
            return PlatformUnavailableError(detail="no answer")
        highest = self.fences.get(effect.target, effect.fence)
        if effect.fence < highest:
            self._watcher.refused(done.verb, effect)
            return FenceRefusedError(
                target=effect.target, fence=str(effect.fence), highest=str(highest)
            )
        self.fences[effect.target] = effect.fence
        try:
            result = act()
        except Exception as error:  # noqa: BLE001 - it is the caller's
            return error
        self._watcher.done(done)
        return PlatformUnavailableError(detail="no answer") if trouble else result

    def _reply(self, answer: asyncio.Future[Any], outcome: object, life: int) -> None:
        if answer.done():
            return
        if life != self._life:
            outcome = PlatformUnavailableError(detail="the agent has died")
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(cast("Any", outcome))


def _script(launch: Launch) -> tuple[float, str]:
    """Read `work SECONDS HOW`, where HOW is `ok`, `fails` or `hangs`; all else is done at once."""
    if launch.argv[:1] != (WORK,):
        return 0.0, "ok"
    return float(launch.argv[1]), launch.argv[2]


def _fail(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(PlatformUnavailableError(detail="the agent has died"))
        future.exception()
