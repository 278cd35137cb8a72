"""One revision as the router sees it: where it listens, what it has in flight, what it answered."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from .....domain.ports import Traffic
from .tunnel import Tunnel

Address = tuple[str, int]

FAILURE = 500
"""The lowest status that is the service's failure."""
NEWEST = 1024
"""Answers whose latency is kept for the quantiles."""


class Revision:
    """Where the requests of one revision go, and their counts since it was started."""

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self._turn = 0
        self._requests: set[asyncio.Task[None]] = set()
        self._tunnels: set[Tunnel] = set()
        self._is_leaving = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._statuses: Counter[int] = Counter()
        self._failures = 0
        self._unanswered = 0
        self._latencies: deque[float] = deque(maxlen=NEWEST)

    def next_addresses(self) -> tuple[Address, ...]:
        """Return all addresses, each time beginning with another one."""
        self._turn += 1
        first = self._turn % max(len(self.addresses), 1)
        return self.addresses[first:] + self.addresses[:first]

    def enter(self, task: asyncio.Task[None]) -> None:
        """Count a request in flight, by the task that serves it."""
        self._requests.add(task)
        self._quiet.clear()

    def leave(self, task: asyncio.Task[None]) -> None:
        """Count it no longer."""
        self._requests.discard(task)
        if not self._requests:
            self._quiet.set()

    async def carry(self, tunnel: Tunnel) -> None:
        """Keep a WebSocket open until it ends, or until the revision is drained."""
        self._tunnels.add(tunnel)
        try:
            if self._is_leaving:
                tunnel.go_away()
            await tunnel.run()
        finally:
            self._tunnels.discard(tunnel)

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer by its status and the time until its head was there."""
        self._statuses[status] += 1
        self._failures += status >= FAILURE
        self._latencies.append(seconds * 1000)

    def failed(self) -> None:
        """Count a request that got no answer from the revision."""
        self._unanswered += 1
        self._failures += 1

    def broke_off(self, status: int) -> None:
        """Count an answer, already counted by its status, that was not had to its end."""
        self._failures += status < FAILURE

    async def drain(self, seconds: float, deadline: float) -> None:
        """Return when nothing is in flight; one that is called off leaves all as it is then.

        After `seconds` WebSockets are closed; at `deadline` (loop time) what is left is cut.
        """
        loop = asyncio.get_running_loop()
        if await self._is_quiet_at(min(loop.time() + seconds, deadline)):
            return
        self._is_leaving = True
        try:
            await self._see_off(deadline)
        finally:
            self._is_leaving = False

    async def _see_off(self, deadline: float) -> None:
        for tunnel in self._tunnels:
            tunnel.go_away()
        if not await self._is_quiet_at(deadline):
            for task in self._requests:
                task.cancel()
            await self._quiet.wait()

    def traffic(self) -> Traffic:
        """Return the counts."""
        ordered = sorted(self._latencies)
        return Traffic(
            requests=self._statuses.total() + self._unanswered,
            failures=self._failures,
            statuses=dict(self._statuses),
            in_flight=len(self._requests),
            latency_ms={
                f"p{share}": ordered[(len(ordered) - 1) * share // 100] if ordered else 0.0
                for share in (50, 90, 99)
            },
        )

    async def _is_quiet_at(self, when: float) -> bool:
        try:
            async with asyncio.timeout_at(when):
                await self._quiet.wait()
        except TimeoutError:
            return not self._requests
        return True
