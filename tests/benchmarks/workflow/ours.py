"""Our worker carries deployments of five stages that do nothing; a program of its own.

Arguments: a database's URL, how many deployments, how many at once. Prints deployments a second.
Every stage's start and finish is an event, durable before the next begins.
"""

import asyncio
import sys
import time
from datetime import timedelta
from itertools import count
from pathlib import Path

from shipslog.adapters.clock import SystemClock
from shipslog.adapters.secrets.local import LocalSecretStore
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.api.worker.claims import Worker
from shipslog.api.worker.keeper import Keeper
from shipslog.api.worker.leases import Leases
from shipslog.api.worker.owner import Workshop
from shipslog.domain.access import Actor, Role
from shipslog.domain.commands import DefineEnvironment, DefinePipeline, RequestDeployment
from shipslog.domain.deployment import Deployment
from shipslog.domain.environment import Environment
from shipslog.domain.ledger import Door
from shipslog.domain.ports import Effect, Ended, Launch
from shipslog.domain.stages import Outside
from shipslog.domain.target import Target

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.api.worker.machine import WELL, Machine

NAMES = ("build", "lint", "test", "package", "upload")
STAGES = [
    {"name": name, "run": ["true"]} | ({"needs": [before]} if before else {})
    for before, name in zip(("", *NAMES), NAMES, strict=False)
]
LEASE = 15.0
WARM = 4


class Idle(Machine):
    """A machine on which a command is over as soon as it is begun, and takes no task for that."""

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        del launch
        return await self._call("run", effect, lambda: WELL)


class Yard:
    """A worker on a store, and who waits for which deployment's end."""

    def __init__(self, store: PostgresStore, system: str) -> None:
        self._ended: dict[str, asyncio.Future[str]] = {}
        self._numbers = count()
        self.actor = Actor(system, Role.ADMIN)
        self.door = Door(store.log, SystemClock(), store.keyring)
        machine = Idle()
        outside = Outside(machine, machine, LocalSecretStore(), store.blobs, SystemClock())
        workshop = Workshop(store.log, self.door.streams, outside, system, self._note)
        self.leases = Leases("bench", store.work, LEASE)
        self.worker = Worker(self.leases, workshop, Keeper(workshop))

    async def define(self, environments: int) -> None:
        """Define a target for each of those that run at once."""
        for n in range(environments):
            document = {"platform": {"kind": "processes"}, "history_limit": 50}
            command = DefineEnvironment(name=f"e{n}", document=document)
            await self.door.carry_out(command, self.actor)
        pipeline = DefinePipeline(name="web", document={"stages": STAGES})
        await self.door.carry_out(pipeline, self.actor)

    async def deploy(self, environment: int) -> None:
        """Ask for a deployment and return at its end."""
        command = RequestDeployment(
            pipeline="web", version=f"1.0.{next(self._numbers)}", environment=f"e{environment}"
        )
        receipt = await self.door.carry_out(command, self.actor)
        deployment = receipt.stream.partition(":")[2]
        ended = self._ended.setdefault(deployment, asyncio.get_running_loop().create_future())
        assert await ended == "succeeded"
        del self._ended[deployment]

    def _note(self, deployment: Deployment, _target: Target, _where: Environment) -> None:
        new = asyncio.get_running_loop().create_future()
        self._ended.setdefault(deployment.id, new).set_result(deployment.status.value)


async def main(url: str, number: int, at_once: int) -> None:
    """Print how many deployments a second came to their end."""
    store = await PostgresStore.open(url, terms=Terms(lease=timedelta(seconds=LEASE)))
    yard = Yard(store, await store.directory.ensure("system", "shipslog"))
    parts = [asyncio.create_task(part) for part in (yard.leases.run(), yard.worker.run())]
    await yard.define(at_once)

    async def client(environment: int, deployments: int) -> None:
        for _ in range(deployments):
            await yard.deploy(environment)

    await asyncio.gather(*(client(n, WARM) for n in range(at_once)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    began = time.perf_counter()
    await asyncio.gather(*(client(n, number // at_once) for n in range(at_once)))
    taken = time.perf_counter() - began
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    await store.close()
    sys.stdout.write(f"{number // at_once * at_once / taken}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
