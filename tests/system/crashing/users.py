"""The service's users: requests day in, day out, each remembered with when and how it ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

RATE = 40.0
ANSWER_SECONDS = 10.0


class Visit(NamedTuple):
    """One request: when it was sent, when it had ended, and what was wrong with it."""

    sent: datetime
    ended: datetime
    fault: str | None


class Users:
    """Send requests to an address, by turns over a kept connection and a new one, until left."""

    def __init__(self, address: str, rate: float = RATE) -> None:
        self.visits: list[Visit] = []
        self._url = f"http://{address}/"
        self._pause = 1 / rate
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._come())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def faults(self) -> list[Visit]:
        """The requests that failed, in the order in which they ended."""
        return [visit for visit in self.visits if visit.fault]

    def served_after(self, instant: datetime) -> Visit | None:
        """Return the first good answer to a request that was sent after an instant."""
        good = (v for v in self.visits if v.sent > instant and not v.fault)
        return min(good, key=lambda visit: visit.ended, default=None)

    async def _come(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        fresh = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(timeout=timeout) as kept,
            aiohttp.ClientSession(timeout=timeout, connector=fresh) as new,
            asyncio.TaskGroup() as under_way,
        ):
            while True:
                for session in (kept, new):
                    under_way.create_task(self._visit(session))
                    await asyncio.sleep(self._pause)

    async def _visit(self, session: aiohttp.ClientSession) -> None:
        sent, fault = datetime.now(UTC), None
        try:
            # A POST: no client sends one again by itself, so no fault stays hidden.
            async with session.post(self._url) as answer:
                body = await answer.read()
                fault = None if answer.status == 200 else f"{answer.status} {body[:80]!r}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            fault = f"{type(error).__name__}: {error}"
        self.visits.append(Visit(sent, datetime.now(UTC), fault))
