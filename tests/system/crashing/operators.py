"""Operators: people who deploy, abort, roll back and retry, and who ask again when nobody answers.

Every wish has its own idempotency key, and is sent until it is answered; every answer is kept, for
the log to be held to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from random import Random
from typing import Any, NamedTuple

import aiohttp

from .documents import CHORES, ENVIRONMENT, SERVICE

AGAIN_SECONDS = 0.05
ANSWER_SECONDS = 20.0
AT_ONCE = 4
"""Deployments under way, or waiting, after which nothing more is asked for."""
KINDS = {"1": 14, "3": 3, "4": 3}
"""How often each kind of version is chosen."""
DONE = {
    *("rejected", "succeeded", "rolled_back", "failed"),
    *("rollback_failed", "aborted", "cancelled", "superseded"),
}

DEPLOYMENTS = "/v1/deployments"

Document = dict[str, Any]


class Wish(NamedTuple):
    """What is asked for; sent again it is the same."""

    key: str
    path: str
    body: Document


class Answer(NamedTuple):
    """What the server acknowledged, or why it refused."""

    status: int
    deployment: str
    position: int


Acknowledged = tuple[Wish, Answer]


class Operators:
    """Act at random until cancelled; `choice` decides what is done and how long it is waited."""

    def __init__(self, url: str, token: str, choice: Random) -> None:
        self.answered: dict[str, Acknowledged] = {}
        """By the wish's key."""
        self.strange: list[str] = []
        """Answers that no server should give."""
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._choice = choice
        self._known: list[str] = []
        self._wishes = 0

    async def act(self) -> None:
        """Act until cancelled."""
        async with self._session() as session:
            while True:
                wish = await self._next(session)
                if wish:
                    await self.send(session, wish)
                await asyncio.sleep(self._choice.uniform(0.02, 0.2))

    async def deploy(self, pipeline: str, version: str) -> str:
        """Ask for one deployment and return its id."""
        async with self._session() as session:
            return (await self.send(session, self._deploy(pipeline, version))).deployment

    async def repeat(self, count: int) -> list[str]:
        """Send some earlier wishes again; return a sentence for each other answer (I4)."""
        faults: list[str] = []
        done = [one for one in self.answered.values() if one[1].status == HTTPStatus.ACCEPTED]
        async with self._session() as session:
            for wish, before in self._choice.sample(done, min(count, len(done))):
                after = await self.send(session, wish)
                if before != after:
                    faults.append(f"{wish} was answered {before}, and then {after}")
        return faults

    async def statuses(self) -> dict[str, Document]:
        """Return the status documents of all deployments that are not final."""
        async with self._session() as session:
            return await self._under_way(session)

    async def count(self, topic: str) -> int:
        """Return how many events of a topic there are."""
        params = {"topic": topic, "limit": "500"}
        async with self._session() as session, session.get("/v1/events", params=params) as answer:
            return len((await answer.json())["items"])

    async def send(self, session: aiohttp.ClientSession, wish: Wish) -> Answer:
        """Send a wish until it is answered, and keep the first answer."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                answer = await self._ask(session, wish)
                if answer is not None:
                    self.answered.setdefault(wish.key, (wish, answer))
                    return answer
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, wish: Wish) -> Answer | None:
        headers = {"Idempotency-Key": wish.key}
        async with session.post(wish.path, json=wish.body, headers=headers) as answer:
            document = await answer.json(content_type=None)
            if answer.status == HTTPStatus.ACCEPTED:
                position = int(answer.headers["Ledger-Position"])
                if document["id"] not in self._known:
                    self._known.append(document["id"])
                return Answer(answer.status, document["id"], position)
            if answer.status == HTTPStatus.CONFLICT:
                return Answer(answer.status, "", 0)
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                self.strange.append(f"{wish}: {answer.status} {document}")
                return Answer(answer.status, "", 0)
            return None

    async def _next(self, session: aiohttp.ClientSession) -> Wish | None:
        under_way = sorted(await self._under_way(session))
        finished = sorted(set(self._known) - set(under_way))
        dice = self._choice.random()
        if dice < 0.08 and under_way:
            return self._act(self._choice.choice(under_way), "abort")
        if dice < 0.12 and under_way:
            return self._act(self._choice.choice(under_way), "rollback")
        if len(under_way) >= AT_ONCE:
            return None
        if dice < 0.25 and finished:
            return self._act(finished[-1], "rollback")
        if dice < 0.35 and finished:
            return self._act(self._choice.choice(finished), "retry")
        if dice < 0.55:
            return self._deploy(CHORES, f"1.0.{self._wishes}")
        (kind,) = self._choice.choices(list(KINDS), list(KINDS.values()))
        return self._deploy(SERVICE, f"{kind}.0.{self._wishes}")

    async def _under_way(self, session: aiohttp.ClientSession) -> dict[str, Document]:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.get("/v1/deployments", params={"limit": "30"}) as answer:
                    items = (await answer.json())["items"]
                return {item["id"]: item for item in items if item["status"] not in DONE}
            await asyncio.sleep(AGAIN_SECONDS)

    def _deploy(self, pipeline: str, version: str) -> Wish:
        body = {"pipeline": pipeline, "version": version, "environment": ENVIRONMENT}
        return self._wish(DEPLOYMENTS, body)

    def _act(self, deployment: str, verb: str) -> Wish:
        return self._wish(f"/v1/deployments/{deployment}/{verb}", {"reason": "to see"})

    def _wish(self, path: str, body: Document) -> Wish:
        self._wishes += 1
        return Wish(f"wish-{self._wishes}", path, body)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncGenerator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(
            self._url, headers=self._headers, timeout=timeout
        ) as session:
            yield session
