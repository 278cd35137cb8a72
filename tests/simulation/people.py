"""People: what they ask for, drawn up front, and asked again with the same key until answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from shipslog.domain.access import Actor, Role
from shipslog.domain.commands import (
    AbortDeployment,
    Command,
    DefineEnvironment,
    DefinePipeline,
    RequestDeployment,
    RetryDeployment,
    RollbackDeployment,
)
from shipslog.domain.errors import RefusedError, RetryableError
from shipslog.domain.ledger import Receipt

ALICE = Actor("sub_alice", Role.ADMIN)
ENVIRONMENT, SERVICE, CHORES = "sea", "web", "chores"
TARGETS = (f"{ENVIRONMENT}/{SERVICE}", f"{ENVIRONMENT}/{CHORES}")
LISTEN = "10.0.0.1:80"
PATIENCE_SECONDS = 3.0
"""How long somebody waits for an answer before asking again."""
AGAIN_SECONDS = 0.3
LAST_WISH = 7.0

VERSIONS = {"1": 8, "2": 3, "3": 3, "4": 1, "5": 2, "6": 2}
"""How often each kind of version is asked for; see `world.py`."""

Document = dict[str, Any]
CarryOut = Callable[[Command, str], Awaitable[Receipt]]


class Wish(NamedTuple):
    """What somebody wants: `verb` on a pipeline, or on the n-th deployment known then."""

    at: float
    verb: str
    what: str = ""
    whom: int = 0
    twice: bool = False
    """Sent twice at the same time, as a network does."""


PROLOGUE = [Wish(2.5 * n, "deploy", f"{SERVICE} 1.0.{n}") for n in range(3)]


def drawn(rng: Random) -> list[Wish]:
    """Return the wishes of a seed, in order."""
    wishes = [_one(rng, n) for n in range(rng.choice((1, 2, 2, 3, 4)))]
    if rng.random() < 0.25:
        at = rng.uniform(0.0, 3.0)
        wishes += [Wish(at, "rollback", whom=-1), Wish(at + 3.0, "rollback", whom=-1)]
    if rng.random() < 0.15:
        wishes.append(Wish(rng.uniform(0.0, 2.0), "policy", rng.choice(("refuse", "limits"))))
    return sorted(wishes)


def _one(rng: Random, number: int) -> Wish:
    at, twice = round(rng.uniform(0.0, LAST_WISH), 3), rng.random() < 0.1
    dice = rng.random()
    if dice < 0.15:
        return Wish(at, "abort", whom=-1, twice=twice)
    if dice < 0.3:
        return Wish(at, "rollback", whom=-rng.randint(1, 3), twice=twice)
    if dice < 0.38:
        return Wish(at, "retry", whom=-1, twice=twice)
    at = round(at / 3, 3)
    if dice < 0.55:
        return Wish(at, "deploy", f"{CHORES} 1.1.{number}", twice=twice)
    (kind,) = rng.choices(list(VERSIONS), list(VERSIONS.values()))
    return Wish(at, "deploy", f"{SERVICE} {kind}.1.{number}", twice=twice)


def definitions() -> list[Command]:
    """Return what is defined before anything is deployed."""
    build = {"name": "build", "run": ["work", "0.2", "ok"], "idempotent": True, "timeout": "3s"}
    rollout = {
        "command": ["serve", "{port}"],
        "capacity": 2,
        "strategy": {"kind": "blue_green", "monitor": "400ms"},
        "drain": "1s",
        "health": {
            "checks": [{"http": "/"}],
            "timeout": "200ms",
            "interval": "150ms",
            "attempts": 4,
            "require": "healthy",
        },
    }
    deploy = {"name": "deploy", "needs": ["build"], "deploy": rollout}
    verify = {
        "name": "verify",
        "needs": ["deploy"],
        "check": [{"http": "/"}],
        "timeout": "5s",
        "retry": {"attempts": 2, "backoff": "200ms"},
    }
    chores = [
        {"name": "sweep", "run": ["work", "0.3", "ok"], "idempotent": True, "timeout": "3s"},
        {"name": "paint", "run": ["work", "0.2", "ok"], "needs": ["sweep"], "timeout": "3s"},
        {"name": "dry", "wait": "300ms", "needs": ["sweep"]},
        {
            "name": "polish",
            "run": ["work", "0.1", "ok"],
            "idempotent": True,
            "needs": ["paint", "dry"],
            "timeout": "2s",
            "retry": {"attempts": 2, "backoff": "100ms"},
        },
    ]
    return [
        DefineEnvironment(name=ENVIRONMENT, document=_environment()),
        DefinePipeline(name=SERVICE, document={"stages": [build, deploy, verify]}),
        DefinePipeline(name=CHORES, document={"stages": chores}),
    ]


def _environment(**said: Any) -> Document:
    return {"platform": {"kind": "processes", "routes": {SERVICE: LISTEN}}, **said}


class People:
    """Ask for what they wish; `answered` is what they were promised."""

    def __init__(self, carry_out: CarryOut, reached: Counter[str]) -> None:
        self.answered: dict[str, Receipt] = {}
        """By key: the first answer."""
        self.refused: set[str] = set()
        """Keys of what was refused, and never answered otherwise."""
        self.complaints: list[str] = []
        self.deployments: list[str] = []
        self._carry_out = carry_out
        self._reached = reached

    async def define(self) -> None:
        """Define everything."""
        for number, command in enumerate(definitions()):
            await self._insist(command, f"definition-{number}")

    async def act(self, wishes: Sequence[Wish]) -> None:
        """Ask for everything, each at its time, and return when all of it is answered."""
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(self._wait_for(began, n, wish) for n, wish in enumerate(wishes)))

    async def _wait_for(self, began: float, number: int, wish: Wish) -> None:
        await asyncio.sleep(began + wish.at - asyncio.get_running_loop().time())
        command = self._command(wish)
        if command is None:
            return
        key = f"{wish.verb}-{wish.what or wish.whom}-{number}-{wish.at:g}"
        times = 2 if wish.twice else 1
        await asyncio.gather(*(self._insist(command, key) for _ in range(times)))

    def _command(self, wish: Wish) -> Command | None:
        if wish.verb == "deploy":
            pipeline, version = wish.what.split()
            return RequestDeployment(pipeline=pipeline, version=version, environment=ENVIRONMENT)
        if wish.verb == "policy":
            said: Document = {"concurrency": "refuse"}
            if wish.what == "limits":
                said = {"limits": {"concurrent": 1}}
            return DefineEnvironment(name=ENVIRONMENT, document=_environment(**said), if_match=1)
        if not self.deployments:
            return None
        name = self.deployments[max(wish.whom, -len(self.deployments))]
        kinds = {
            "abort": AbortDeployment,
            "rollback": RollbackDeployment,
            "retry": RetryDeployment,
        }
        return kinds[wish.verb](deployment=name)

    async def _insist(self, command: Command, key: str) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    receipt = await self._carry_out(command, key)
            except RefusedError as error:
                self._note_refusal(key, error)
                return
            except (RetryableError, TimeoutError):
                self._reached["asked again"] += 1
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._note(command, key, receipt)
                return

    def _note(self, command: Command, key: str, receipt: Receipt) -> None:
        first = self.answered.setdefault(key, receipt)
        if receipt.known:
            self._reached["known answered"] += 1
        has_written = receipt.first <= receipt.position and not isinstance(
            command, (AbortDeployment, RollbackDeployment)
        )
        if has_written and (first.stream, first.position) != (receipt.stream, receipt.position):
            self.complaints.append(f"I4: {key} was answered {first}, and then {receipt}")
        kind, _, name = receipt.stream.partition(":")
        if kind == "deployment" and name not in self.deployments:
            self.deployments.append(name)

    def _note_refusal(self, key: str, error: RefusedError) -> None:
        self._reached[f"refused {error.slug}"] += 1
        if key not in self.answered:
            self.refused.add(key)
