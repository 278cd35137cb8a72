"""A story: people's commands and stage outcomes against a ledger in memory, time moved by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shipslog.domain.access import Actor, Role
from shipslog.domain.append import Lease
from shipslog.domain.commands import (
    Command,
    DefineEnvironment,
    DefinePipeline,
    FinishStage,
    RequestDeployment,
)
from shipslog.domain.deployment import Deployment
from shipslog.domain.deployment import stream_of as deployment_stream
from shipslog.domain.event import Event, Fence
from shipslog.domain.ledger import Receipt
from shipslog.domain.memory import Ledger
from shipslog.domain.processes.settling import current, finish, settle
from shipslog.domain.target import Target
from shipslog.domain.transaction import Transaction

ALICE = Actor("sub_alice", Role.ADMIN)
SYSTEM = "sub_system"

ENVIRONMENT: dict[str, Any] = {
    "platform": {"kind": "processes", "routes": {"web": "127.0.0.1:8100"}}
}
COMMANDS_ONLY: list[dict[str, Any]] = [
    {"name": "build", "run": ["true"]},
    {"name": "lint", "run": ["true"]},
    {"name": "pack", "run": ["true"], "needs": ["build", "lint"]},
]
BLUE_GREEN: list[dict[str, Any]] = [
    {"name": "build", "run": ["true"]},
    {
        "name": "deploy",
        "needs": ["build"],
        "deploy": {
            "command": ["serve", "--port", "{port}"],
            "strategy": {"kind": "blue_green", "monitor": "10s"},
            "health": {"checks": [{"http": "/healthz", "expect": 200}]},
        },
    },
    {"name": "verify", "needs": ["deploy"], "check": [{"http": "/", "expect": 200}]},
]


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the instant it was moved to."""
        return self.instant

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.move(seconds)

    def move(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.instant += timedelta(seconds=seconds)


class Story:
    """A ledger with one environment and one pipeline, and what happens to them."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.ledger = Ledger(self.clock)

    async def begin(self, stages: list[dict[str, Any]], **environment: Any) -> None:
        """Define the environment `staging` and the pipeline `web`."""
        document = {**ENVIRONMENT, **environment}
        await self.tell(DefineEnvironment(name="staging", document=document))
        await self.tell(DefinePipeline(name="web", document={"stages": stages}))

    async def tell(self, command: Command, key: str | None = None) -> Receipt:
        """Carry out a person's command."""
        return await self.ledger.door.carry_out(command, ALICE, key=key)

    async def request(self, version: str = "1.0.0") -> str:
        """Request a deployment and return its id."""
        command = RequestDeployment(pipeline="web", version=version, environment="staging")
        return (await self.tell(command)).stream.partition(":")[2]

    async def settle(self, deployment: str, *outcomes: FinishStage) -> None:
        """Be the owner of a deployment once: record outcomes and what follows from them."""
        lease = Lease(deployment_stream(deployment), self.ledger.token, "worker")
        transaction = Transaction(now=self.clock.now(), actor=SYSTEM, lease=lease)
        streams = self.ledger.door.streams
        where = (await self.deployment(deployment)).recorded_plan
        names = (f"target:{where.target}", f"environment:{where.environment}")
        await streams.into(transaction, deployment_stream(deployment), *names)
        state, target = current(transaction, deployment)
        transaction.fence = Fence(target.held_at, lease.token)
        for outcome in outcomes:
            finish(transaction, state, outcome)
        settle(transaction, *current(transaction, deployment))
        if not transaction.is_empty:
            await self.ledger.append(transaction.append())

    async def finish(
        self, deployment: str, stage: str, outcome: str = "succeeded", *facts: Event
    ) -> None:
        """End the running try of a stage."""
        attempt = (await self.deployment(deployment)).attempts[stage].number
        finished = FinishStage(stage=stage, attempt=attempt, outcome=outcome, facts=facts)
        await self.settle(deployment, finished)

    async def deployment(self, deployment: str) -> Deployment:
        """Return a deployment as it stands."""
        return await self.ledger.door.streams.load(Deployment, deployment_stream(deployment))

    async def target(self) -> Target:
        """Return the target `staging/web` as it stands."""
        return await self.ledger.door.streams.load(Target, "target:staging/web")

    async def running(self, deployment: str) -> set[str]:
        """Return the names of the stages with a try under way."""
        return {stage.name for stage in (await self.deployment(deployment)).running}

    async def topics(self, deployment: str) -> list[str]:
        """Return the topics of a deployment's stream, without their prefix."""
        events = await self.ledger.stream(deployment_stream(deployment))
        return [event.header.topic.removeprefix("deployment.") for event in events]
