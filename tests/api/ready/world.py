"""A ledger of numbers in place of the real one: what it shows is how far each stream has come.

Whatever would wait for a database waits for the schedule instead, so that a test decides what
happens between the parts of a read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import NamedTuple, cast

from shipslog.api.services import Limits, Services
from shipslog.domain.deployment import Status
from shipslog.domain.event import Sealed
from shipslog.projections.deployments import StatusDocument
from shipslog.projections.deployments.document import Links
from shipslog.projections.targets import Place

AT = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRONMENTS = ("red", "blue")
DEPLOYMENTS = ("d0", "d1")
STREAMS = (*(f"deployment:{d}" for d in DEPLOYMENTS), *(f"target:{e}/web" for e in ENVIRONMENTS))
Standing = list[tuple[StatusDocument, Place | None]]
Told = Callable[[AbstractSet[str] | None], None]


class Person(NamedTuple):
    """Somebody who may be erased."""

    kind: str
    name: str | None


class World:
    """The log, the read models that some process applies it to, and what this one knows of it."""

    def __init__(self, ready_bytes: int) -> None:
        self.log: list[str] = []
        """The stream of each event."""
        self.applied = 0
        """How far the read models are."""
        self.position = 0
        """How far this process knows them to be."""
        self.now = 100.0
        self.erased_at: float | None = None
        self.gates: list[asyncio.Future[None]] = []
        self.listeners: list[Told] = []
        views = SimpleNamespace(look_up=self._read)
        self.services = cast(
            "Services",
            SimpleNamespace(
                follower=SimpleNamespace(listeners=self.listeners, views=views),
                limits=Limits(ready_bytes=ready_bytes),
                directory=self,
                keyring=self,
            ),
        )

    def environment(self, deployment: str) -> str:
        return ENVIRONMENTS[int(deployment[1:]) % len(ENVIRONMENTS)]

    def seen(self, position: int) -> Counter[str]:
        """Return how many events each stream has up to a position."""
        return Counter(self.log[:position])

    def learn(self, *, knows_which: bool) -> None:
        """Let this process move to where the read models are."""
        streams = set(self.log[self.position : self.applied])
        for told in self.listeners:
            told(streams if knows_which else None)
        self.position = self.applied

    async def step(self) -> None:
        """Let the read that waits longest go on until it waits again."""
        if self.gates:
            self.gates.pop(0).set_result(None)
        for _ in range(8):
            await asyncio.sleep(0)

    def standing(self, ids: Collection[str]) -> Standing:
        """Return what the read models say now, in place of the query."""
        seen = self.seen(self.applied)
        return [
            (
                _document(one, self.environment(one), seen[f"deployment:{one}"]),
                _place(self.environment(one), seen[f"target:{self.environment(one)}/web"]),
            )
            for one in ids
            if one in DEPLOYMENTS
        ]

    @staticmethod
    def asked(ids: Collection[str], world: World) -> Standing:
        """Be the query."""
        return world.standing(ids)

    async def erasures(self) -> int:
        found = int(self.erased_at is not None)
        await self._gate()
        return found

    async def resolve(self, ids: Collection[str]) -> Mapping[str, Person]:
        await self._gate()
        name = "alice" if self.erased_at is None else None
        found = {one: Person("user", name) for one in ids}
        await self._gate()
        return found

    async def open(self, sealed: Collection[Sealed]) -> Mapping[Sealed, str | None]:
        return dict.fromkeys(sealed, None)

    async def _read(self, query: Callable[[World], Standing]) -> Standing:
        await self._gate()
        found = query(self)
        await self._gate()
        return found

    async def _gate(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate


def _document(name: str, environment: str, position: int) -> StatusDocument:
    return StatusDocument(
        id=name,
        pipeline="web",
        pipeline_version=1,
        service="web",
        version="1.0.0",
        artifact=None,
        environment=environment,
        status=Status.RUNNING,
        plan_hash="sha256:0",
        total_stages=0,
        stages=(),
        requested_by="sub_alice",
        reason=None,
        requested_at=AT,
        rollback_of=None,
        retry_of=None,
        requested_position=1,
        position=position,
        links=Links("", ""),
    )


def _place(environment: str, version: int) -> Place:
    return Place(
        environment=environment,
        service="web",
        version=str(version),
        revision="r",
        deployment=None,
        since=None,
        holder=None,
        position=version,
    )
