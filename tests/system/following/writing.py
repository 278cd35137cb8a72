"""Writing and reading: what people ask for, what servers show, what rows it must have become."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp

from shipslog.adapters.clock import SystemClock
from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.api.client import Client
from shipslog.api.wire.shapes import ProblemError
from shipslog.domain.access import Actor, Role
from shipslog.domain.commands import (
    AbortDeployment,
    DefineEnvironment,
    DefinePipeline,
    RequestDeployment,
)
from shipslog.domain.ledger import Door, Receipt
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import SqliteViews
from shipslog.projections.follower.postgres import PostgresViews
from tests.projections.counting import fingerprints

from ..apart.cluster import Cluster
from ..crashing.conditions import eventually, soon
from ..documents import environment, pipeline
from .family import SOON_SECONDS, Child, Family

LAB, SERVICE = "lab", "web"
AT_ONCE = 8
PAUSE_SECONDS = 0.02


class People:
    """Who asks for deployments, at a door of their own."""

    def __init__(self, door: Door, actor: Actor) -> None:
        self._door = door
        self._actor = actor
        self._versions = count(1)
        self.first = ""
        """The id of the first deployment that was asked for."""

    async def define(self) -> None:
        """Define an environment and a pipeline, and ask for a first deployment."""
        say = pipeline(SERVICE, {"name": "say", "run": ["true"]})
        for command in (
            DefineEnvironment(name=LAB, document=environment(LAB)),
            DefinePipeline(name=SERVICE, document=say),
        ):
            await self._door.carry_out(command, self._actor)
        self.first = id_of(await self.ask_once())

    async def ask_once(self) -> Receipt:
        """Ask for a deployment."""
        wish = RequestDeployment(
            pipeline=SERVICE, version=f"1.0.{next(self._versions)}", environment=LAB
        )
        return await self._door.carry_out(wish, self._actor)

    async def abort(self, asked: Receipt) -> Receipt:
        """Ask for the end of a deployment."""
        return await self._door.carry_out(AbortDeployment(deployment=id_of(asked)), self._actor)

    async def ask(self) -> Receipt:
        """Ask for several at once, and return the newest answer."""
        answers = [await self.ask_once() for _ in range(AT_ONCE)]
        return max(answers, key=lambda receipt: receipt.position)


def id_of(receipt: Receipt) -> str:
    """Return the deployment that an answer is about."""
    return receipt.stream.partition(":")[2]


@asynccontextmanager
async def people_at(cluster: Cluster) -> AsyncGenerator[People]:
    """Give people who have defined what is deployed."""
    store = await PostgresStore.open(cluster.url)
    try:
        subject = await store.directory.ensure("user", "tester")
        door = Door(store.log, SystemClock(), store.keyring)
        people = People(door, Actor(subject, Role.ADMIN))
        await people.define()
        yield people
    finally:
        await store.close()


async def require_exact_rows(cluster: Cluster, folder: Path) -> None:
    """Fold the whole log anew, and compare: position, what is parked, every byte."""
    await asyncio.to_thread(_compare, cluster, folder)


def _compare(cluster: Cluster, folder: Path) -> None:
    live = PostgresViews(cluster.url, READ_MODELS)
    anew = SqliteViews(folder / "anew.db", READ_MODELS)
    try:
        log = cluster.log()
        anew.open()
        anew.clear()
        anew.apply(log)
        assert live.standing() == anew.standing()
        assert live.parked() == []
        assert fingerprints(live) == fingerprints(anew)
    finally:
        live.close()
        anew.close()


async def shown(family: Family, server: Child, receipt: Receipt) -> None:
    """Wait until a server shows what was written."""
    async with family.client(server) as client:
        assert await eventually(lambda: is_shown(client, receipt), SOON_SECONDS), server.last_said


async def is_shown(client: Client, receipt: Receipt) -> bool:
    """Say whether a server shows what was written."""
    try:
        await client.deployment(id_of(receipt), at=receipt.position)
    except ProblemError:
        return False
    return True


@asynccontextmanager
async def reading(family: Family, server: Child, deployment: str) -> AsyncGenerator[Counter[int]]:
    """Read one deployment again and again, and count the statuses of the answers."""
    statuses: Counter[int] = Counter()
    task = asyncio.create_task(_read(family, server, deployment, statuses))
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert statuses


async def _read(family: Family, server: Child, deployment: str, statuses: Counter[int]) -> None:
    url = f"{server.name}/v1/deployments/{deployment}"
    async with aiohttp.ClientSession(headers=family.headers) as session:
        while True:
            async with session.get(url) as answer:
                await answer.read()
                statuses[answer.status] += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def until(claim: Callable[[], object]) -> None:
    """Wait for something to be so."""
    assert await asyncio.to_thread(soon, claim, SOON_SECONDS)
