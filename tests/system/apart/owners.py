"""Owners: who holds which deployment, as the database says from moment to moment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import psycopg

LOOK_SECONDS = 0.1
_OWNERS = """
SELECT owner, count(*) FROM shipslog.work
WHERE stream LIKE 'deployment:%' GROUP BY owner
"""


class Owners:
    """Looks again and again; what cannot be seen for a while is seen later."""

    def __init__(self, database: str) -> None:
        self.now: Counter[str] = Counter()
        """How many deployments each has."""
        self.left: int | None = None
        """How many have not come to their end; None where nobody has looked yet."""
        self._database = database
        self._last: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def held_until(self, owner: str) -> float | None:
        """Return the monotonic instant at which an owner was last seen to hold a deployment."""
        return self._last.get(owner)

    async def _look(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._database, autocommit=True, connect_timeout=5
                ) as connection:
                    while True:
                        await self._note(connection)
                        await asyncio.sleep(LOOK_SECONDS)
            except psycopg.Error:
                await asyncio.sleep(LOOK_SECONDS)

    async def _note(self, connection: psycopg.AsyncConnection[Any]) -> None:
        asked_at = time.monotonic()
        found = dict(await (await connection.execute(_OWNERS)).fetchall())
        self.left = sum(found.values())
        self.now = Counter({owner: count for owner, count in found.items() if owner})
        self._last |= dict.fromkeys(self.now, asked_at)
