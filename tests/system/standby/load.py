"""Load: clients who append until told to end, and keep what they are answered."""

from __future__ import annotations

import asyncio
from itertools import count

from shipslog.adapters.store.postgres.store import PostgresStore
from tests.adapters.store.postgres.appending import pair, settled
from tests.adapters.store.postgres.watching import Acknowledged

CLIENTS = 4
SOON_SECONDS = 60.0


class Load:
    """Appends of three events each, in the background, each asked for until it is answered."""

    def __init__(self, store: PostgresStore) -> None:
        self.answers = Acknowledged()
        self._store = store
        self._ended = False
        self._clients = [asyncio.create_task(self._client(f"c{n}")) for n in range(CLIENTS)]

    async def grow(self, more: int) -> None:
        """Return once so many more were acknowledged."""
        wanted = len(self.answers) + more
        async with asyncio.timeout(SOON_SECONDS):
            while len(self.answers) < wanted:
                for client in self._clients:
                    if client.done():
                        client.result()
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Let every client have its last answer. Errors: what the store has told one of them."""
        self._ended = True
        await asyncio.gather(*self._clients)

    async def failures(self) -> list[BaseException]:
        """Let every client come to its end, and return what ended them."""
        self._ended = True
        ended = await asyncio.gather(*self._clients, return_exceptions=True)
        return [one for one in ended if one is not None]

    async def _client(self, name: str) -> None:
        for number in count():
            if self._ended:
                return
            append = pair(name, number)
            answer = await settled(self._store, append)
            self.answers[append.commands[0].id] = answer.first, answer.last
