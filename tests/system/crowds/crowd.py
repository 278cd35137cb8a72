"""Crowd: so many connections that each ask again as soon as they are answered."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

AT_ONCE = 200
"""Connections that are being made at a time."""
SPARE_FILES = 500


class Crowd:
    """What the clients have got so far."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        """Connections that ended before the crowd did."""
        self.is_over = False
        self._changed = asyncio.Event()

    def note(self, status: int) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self._changed.set()

    async def answered(self, count: int) -> None:
        """Return once there are so many answers."""
        while self.statuses.total() < count:
            self._changed.clear()
            await self._changed.wait()


class _Client(asyncio.Protocol):
    """One connection, with one request on its way at any time."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._taken = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._crowd.request)

    def data_received(self, data: bytes) -> None:
        self._taken += data
        head, split, body = self._taken.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if split and len(body) >= int(length):
            self._taken = b""
            self._crowd.note(int(head[9:12]))
            if not self._crowd.is_over:
                self._transport.write(self._crowd.request)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._crowd.broken += not self._crowd.is_over


@asynccontextmanager
async def crowd(address: str, count: int, path: str, token: str) -> AsyncGenerator[Crowd]:
    """Let so many clients ask for a path until this ends."""
    host, _, port = address.rpartition(":")
    head = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    crowding = Crowd(head.encode())
    loop = asyncio.get_running_loop()
    transports: list[asyncio.BaseTransport] = []
    try:
        while len(transports) < count:
            made = await asyncio.gather(
                *(
                    loop.create_connection(lambda: _Client(crowding), host, int(port))
                    for _ in range(min(AT_ONCE, count - len(transports)))
                )
            )
            transports += [transport for transport, _ in made]
        yield crowding
    finally:
        crowding.is_over = True
        for transport in transports:
            transport.close()


def most(wanted: int) -> int:
    """Return how many connections this process may make, of so many wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft - SPARE_FILES)
