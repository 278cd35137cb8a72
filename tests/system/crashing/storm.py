"""Storm: one data folder whose server and agent are killed again and again, all being at work."""

from __future__ import annotations

import asyncio
import tomllib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from shipslog.adapters.store.rows import Row
from shipslog.domain.deployment import Deployment
from shipslog.domain.event import Recorded
from shipslog.domain.target import Target
from shipslog.domain.transaction import empty, fold

from ..installation import Installation, define, free_address
from . import processes
from .conditions import eventually
from .documents import SECONDS_OF_ITS_OWN, SERVICE, documents
from .evidence import DataFolder
from .operators import Acknowledged, Operators
from .timeline import Life, long_outages, not_undone, stalls
from .users import Users

RECOVERY_SECONDS = 5.0
SETTLE_SECONDS = 60.0
LONGEST_CALM = 1.0
"""Seconds from one restart to the next kill, at most; a deployment takes about as long."""
STAGES = (
    *("build", "once", "deploy.snapshot", "deploy.start", "deploy.health", "deploy.switch"),
    *("deploy.monitor", "verify", "deploy.retire", "deploy.undo_switch", "deploy.undo_start"),
    *("sweep", "paint"),
)
SERVER, AGENT, BOTH = "server", "agent", "both"
VICTIMS = {SERVER: 12, AGENT: 3, BOTH: 4}
TWICE = 0.2
"""How often the next server is killed too, while it starts."""
LONGEST_START = 1.0


class Storm:
    """Kills by the schedule that `choice` makes, and gathers everything that is not as promised."""

    def __init__(self, installation: Installation, folder: Path, choice: Random) -> None:
        self.faults: list[str] = []
        self.struck: Counter[str] = Counter()
        """Who was killed, and what was under way then."""
        self.kills = 0
        self._here = installation
        self._folder = folder
        self._choice = choice
        self._listen = free_address()
        self._users = Users(self._listen)
        self._ready = datetime.now(UTC)
        self._lives: list[Life] = []
        self._rows: list[Row] = []
        self._log: Sequence[Recorded] = ()
        self._outages: list[datetime] = []
        """When an agent was killed."""

    async def rage(self, kills: int) -> None:
        """Kill at so many moments, let all settle, and hold the whole to its word."""
        await asyncio.to_thread(self._folder.mkdir)
        await asyncio.to_thread(self._here.start)
        async with self._here.client() as client:
            await define(client, *documents(self._folder, self._listen))
        self._operators = self._new_operators()
        await self._first_version()
        async with self._users:
            acting = asyncio.create_task(self._operators.act())
            examining: list[asyncio.Task[None]] = []
            while self.kills < kills:
                await self._wait_for_a_moment()
                examining += await self._strike()
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)
            await asyncio.gather(*examining)
            await self._settle()
            await self._final_look()
        self.faults += [*self._operators.strange, *self._unserved()]

    def _new_operators(self) -> Operators:
        stored = tomllib.loads((self._here.configuration / "shipslog/config.toml").read_text())
        return Operators(stored["url"], stored["token"], schedule(self._choice.random()))

    async def _first_version(self) -> None:
        await self._operators.deploy(SERVICE, "1.0.0")
        assert await eventually(self._is_settled, SETTLE_SECONDS)

    async def _wait_for_a_moment(self) -> None:
        if self._choice.random() < 0.5:
            await asyncio.sleep(self._choice.uniform(0, LONGEST_CALM))
            return
        # Just when a stage begins, or a little later; where it does not begin, after a while.
        stage, late = self._choice.choice(STAGES), self._choice.uniform(0, 0.08)
        await eventually(lambda: self._is_running(stage), 2 * LONGEST_CALM)
        await asyncio.sleep(late)

    async def _is_running(self, name: str) -> bool:
        documents = (await self._operators.statuses()).values()
        stages = [stage for document in documents for stage in document["stages"]]
        return any(s["name"] == name and s["status"] == "running" for s in stages)

    async def _strike(self) -> list[asyncio.Task[None]]:
        (victim,) = self._choice.choices(list(VICTIMS), list(VICTIMS.values()))
        self.struck[victim] += 1
        self.kills += 1
        examining: list[asyncio.Task[None]] = []
        if victim in (AGENT, BOTH):
            examining.append(asyncio.create_task(self._kill_agent()))
            await asyncio.sleep(0)
        if victim in (SERVER, BOTH):
            await asyncio.to_thread(self._here.kill)
            self._lives.append(Life(self._ready, datetime.now(UTC)))
            examining.append(await self._examine(f"kill-{self.kills}"))
            await self._start()
        return examining

    async def _start(self) -> None:
        if self._choice.random() < TWICE:
            await self._kill_while_starting(self._choice.uniform(0.2, LONGEST_START))
        await asyncio.to_thread(self._here.start)
        self._ready = datetime.now(UTC)
        self.faults += await self._operators.repeat(2)

    async def _kill_while_starting(self, seconds: float) -> None:
        starting = asyncio.create_task(asyncio.to_thread(self._here.start))
        await asyncio.wait([starting], timeout=seconds)
        await asyncio.to_thread(self._here.kill)
        # It may have been ready by then, or may never have said so.
        await asyncio.gather(starting, return_exceptions=True)
        self.struck["starting server"] += 1
        self.kills += 1

    async def _kill_agent(self) -> None:
        agent = processes.agent_of(self._here.data)
        if agent is None:
            return
        children = processes.descendants(agent.pid)
        self._outages.append(datetime.now(UTC))
        processes.kill(agent)
        for left in await asyncio.to_thread(processes.are_gone, children, RECOVERY_SECONDS):
            self.faults.append(f"I18: {left} outlives its agent")

    async def _examine(self, when: str) -> asyncio.Task[None]:
        """Copy what is there now, and begin to examine it."""
        evidence = await asyncio.to_thread(DataFolder, self._folder, self._here.data, when)
        # What is acknowledged from now on is not in the copy.
        answered = [one for one in self._operators.answered.values() if one[1].position]
        before, self._rows = self._rows, evidence.rows
        self.struck.update(under_way(evidence.log))
        self._log = evidence.log
        return asyncio.create_task(self._hold(evidence, before, answered))

    async def _hold(
        self, evidence: DataFolder, before: Sequence[Row], answered: Sequence[Acknowledged]
    ) -> None:
        found = [*await asyncio.to_thread(evidence.faults_since, before), *evidence.lost(answered)]
        self.faults += [f"{evidence.name}: {fault}" for fault in found]

    async def _settle(self) -> None:
        if not await eventually(self._is_settled, SETTLE_SECONDS):
            self.faults.append(f"not settled: {await self._operators.statuses()}")
        await self._is_served_again()
        # Now that nobody changes anything, what is live has to come back by itself.
        before = await self._operators.count(Target.Restored.TOPIC)
        await self._kill_agent()
        await self._is_served_again()

        async def is_restored() -> bool:
            return await self._operators.count(Target.Restored.TOPIC) > before

        if not await eventually(is_restored, RECOVERY_SECONDS):
            self.faults.append("nothing was restored after the last death of the agent")

    async def _is_served_again(self) -> None:
        begun = datetime.now(UTC)

        async def is_served() -> bool:
            return self._users.served_after(begun) is not None

        if not await eventually(is_served, RECOVERY_SECONDS + SECONDS_OF_ITS_OWN):
            self.faults.append(f"the service has not answered since {begun}")

    async def _is_settled(self) -> bool:
        return not await self._operators.statuses()

    async def _final_look(self) -> None:
        await asyncio.to_thread(self._here.kill)
        self._lives.append(Life(self._ready, datetime.now(UTC)))
        await (await self._examine("at-the-end"))
        seconds = RECOVERY_SECONDS + SECONDS_OF_ITS_OWN
        self.faults += stalls(self._log, self._lives, seconds)
        self.faults += not_undone(self._log)
        self.faults += [f"the server says {line}" for line in _errors(self._here.log)]
        self.faults += long_outages(self._users, self._outages, self._lives, seconds)

    def _unserved(self) -> list[str]:
        """Return the failed requests that no dead agent excuses."""
        windows = [(at, self._users.served_after(at)) for at in self._outages]
        return [
            f"a request failed: {visit}"
            for visit in self._users.faults
            if not any(
                visit.ended >= begun and (served is None or visit.sent <= served.ended)
                for begun, served in windows
            )
        ]


def _errors(log: Path) -> list[str]:
    with log.open() as lines:
        return [line for line in lines if '"level":"error"' in line or "Traceback" in line]


def schedule(seed: float | str) -> Random:
    """Return the source of all choices; the same seed makes the same."""
    return Random(seed)  # noqa: S311  a schedule is no secret


def under_way(log: Sequence[Recorded]) -> list[str]:
    """Return the names of all stages that run at the end of a log."""
    deployments: dict[str, Deployment] = {}
    for recorded in log:
        stream = recorded.header.stream
        if stream.startswith("deployment:"):
            after = fold(deployments.get(stream) or empty(stream), recorded.fact)
            if isinstance(after, Deployment):
                deployments[stream] = after
    return [stage.name for one in deployments.values() for stage in one.running]
