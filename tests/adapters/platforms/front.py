"""A router before scripted services, and a client that speaks in bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self, cast

import pytest

from shipslog.adapters.platforms.processes.router.revision import Revision
from shipslog.adapters.platforms.processes.router.router import Router
from shipslog.domain.ports import Route, Traffic

from .ground import free_port

TARGET = "staging/web"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Front:
    """One target's address and, by name, its revisions, all in this process."""

    def __init__(self) -> None:
        self.router = Router()
        self.port = free_port()
        self.heads: list[bytes] = []
        """What each connection to a service began with."""
        self._servers: list[asyncio.Server] = []
        self._serving: list[asyncio.Task[None]] = []

    async def serve(self, script: Script, *, revision: str = "v1", instances: int = 1) -> Revision:
        """Route everything to a revision whose instances follow a script, once a connection."""
        served = Revision()
        served.addresses = tuple([await self._instance(script) for _ in range(instances)])
        self.router.site(TARGET).revisions[revision] = served
        await self.route(**{revision: 10_000})
        return served

    async def route(self, **weights: int) -> None:
        await self.router.route(TARGET, Route(f"127.0.0.1:{self.port}", weights))

    def traffic(self, revision: str = "v1") -> Traffic:
        return self.router.traffic(TARGET)[revision]

    async def close(self) -> None:
        await self.router.close()
        for server in self._servers:
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _instance(self, script: Script) -> tuple[str, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._serving.append(current_task())
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                try:
                    self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                    await script(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return "127.0.0.1", port


class Client:
    """A connection to a front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, front: Front) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", front.port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def send(self, content: bytes) -> None:
        self.writer.write(content)

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n")), 16)
        return (await self.reader.readexactly(size + 2))[:-2]


def current_task() -> asyncio.Task[None]:
    return cast("asyncio.Task[None]", asyncio.current_task())


def answering(answer: bytes) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return script


def ok(body: bytes = b"hello") -> Script:
    return answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def talk(front: Front, said: bytes) -> bytes:
    """Return all that comes back until the router closes the connection."""
    async with await Client.of(front) as client, asyncio.timeout(10):
        client.send(said)
        return await client.reader.read()


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = Front()
    yield front
    await front.close()
