"""The room the worker works in: a ledger in memory, a machine, and time that runs fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from shipslog.api.worker.claims import Worker
from shipslog.api.worker.keeper import Keeper
from shipslog.api.worker.leases import Leases
from shipslog.api.worker.owner import Workshop
from shipslog.api.worker.restorer import Restorer
from shipslog.domain.access import Actor, Role
from shipslog.domain.commands import Command, DefineEnvironment, DefinePipeline, RequestDeployment
from shipslog.domain.deployment import Deployment
from shipslog.domain.deployment import stream_of as deployment_stream
from shipslog.domain.environment import Environment
from shipslog.domain.errors import SecretMissingError
from shipslog.domain.memory import Ledger
from shipslog.domain.stages import Outside
from shipslog.domain.target import Target
from tests.invariants import violations

from .machine import Machine

ALICE = Actor("sub_alice", Role.ADMIN)
LISTEN = "127.0.0.1:8100"
TARGET = "staging/web"
SPEED = 20.0
LIMIT_SECONDS = 10.0
TICK = 0.002


class FastClock:
    """A clock that goes twenty times as fast."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def now(self) -> datetime:
        gone = (self._loop.time() - self._began) * SPEED
        return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=gone)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


class Cupboard:
    """Blobs that nobody reads, and secrets that say their name as long as they are there."""

    def __init__(self) -> None:
        self.is_lost = False

    async def put(self, content: bytes) -> str:
        return f"sha256:{len(content):064x}"

    async def get(self, digest: str) -> bytes | None:
        del digest
        return None

    def resolve(self, reference: str) -> str:
        if self.is_lost:
            raise SecretMissingError(reference=reference)
        return reference


def _unnoticed(_deployment: Deployment, _target: Target, _where: Environment) -> None:
    """Take no notice of a deployment's end."""


class Room:
    """A worker that can be lost and replaced at any moment."""

    def __init__(self) -> None:
        self.clock = FastClock()
        self.ledger = Ledger(self.clock)
        self.machine = Machine()
        self.secrets = Cupboard()
        self._parts: list[asyncio.Task[None]] = []

    async def begin(self, *stages: dict[str, Any]) -> None:
        """Define what is deployed, and put a worker to it."""
        await self.define(*stages)
        self.start()

    async def define(self, *stages: dict[str, Any]) -> None:
        """Define what is deployed, and where."""
        platform = {"kind": "processes", "routes": {"web": LISTEN}}
        await self.tell(DefineEnvironment(name="staging", document={"platform": platform}))
        await self.tell(DefinePipeline(name="web", document={"stages": list(stages)}))

    def start(self) -> None:
        """Let a worker begin with nothing but the log."""
        outside = Outside(self.machine, self.machine, self.secrets, self.secrets, self.clock)
        streams = self.ledger.door.streams
        workshop = Workshop(self.ledger, streams, outside, "sub_system", _unnoticed)
        keeper = Keeper(workshop)
        leases = Leases("worker", self.ledger)
        self.worker = worker = Worker(leases, workshop, keeper)

        async def named() -> list[str]:
            return [TARGET]

        restorer = Restorer(leases, self.clock, keeper, named)
        self._parts = [asyncio.create_task(part) for part in (worker.run(), restorer.run())]

    async def lose_worker(self) -> None:
        """End the worker wherever it is; its lease is void and all is due."""
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        self.ledger.token += 1
        for stream in [*self.ledger.owners]:
            del self.ledger.owners[stream]
            self.ledger.due[stream] = self.clock.now()

    async def take_over(self) -> None:
        """Put another worker in the place of the first."""
        await self.lose_worker()
        self.start()

    async def tell(self, command: Command) -> str:
        """Carry out a person's command and return the deployment's id."""
        receipt = await self.ledger.door.carry_out(command, ALICE)
        return receipt.stream.partition(":")[2]

    async def deploy(self, version: str) -> str:
        """Ask for a version and return the deployment's id."""
        return await self.tell(
            RequestDeployment(pipeline="web", version=version, environment="staging")
        )

    async def deployed(self, version: str) -> Deployment:
        """Ask for a version and return the deployment at its end."""
        return await self.end_of(await self.deploy(version))

    async def deployment(self, name: str) -> Deployment:
        """Return a deployment as it stands."""
        return await self.ledger.door.streams.load(Deployment, deployment_stream(name))

    async def target(self) -> Target:
        """Return the target as it stands."""
        return await self.ledger.door.streams.load(Target, f"target:{TARGET}")

    async def end_of(self, name: str) -> Deployment:
        """Return a deployment as soon as it is final."""
        await self.until(lambda: self._is_final(name))
        return await self.deployment(name)

    async def until(self, claim: Callable[[], Any]) -> None:
        """Return as soon as the claim holds."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                if await claim():
                    return
                await asyncio.sleep(TICK)

    async def topics(self) -> list[str]:
        """Return the topics of the target's stream."""
        return [event.header.topic for event in await self.ledger.stream(f"target:{TARGET}")]

    async def is_as_logged(self) -> bool:
        """Say whether exactly that runs and is routed which the log says."""
        target = await self.target()
        live, serving = target.live, target.serving
        alive = {
            name: sum(one.alive for one in fleet)
            for (_, name), fleet in self.machine.fleets.items()
        }
        if live is None or serving is None:
            return not alive
        route = self.machine.routes.get(TARGET)
        return (
            route is not None
            and dict(route.weights) == serving.weights
            and alive == {live.id: live.capacity}
        )

    async def close(self) -> list[str]:
        """End everything, and return what the log violates."""
        self.machine.open()
        await self.lose_worker()
        return violations(await self.ledger.page(after=0, limit=100_000))

    async def _is_final(self, name: str) -> bool:
        return (await self.deployment(name)).is_final
