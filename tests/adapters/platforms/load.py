"""Clients of a service that note every request that failed or was cut, until told to stop."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

SLOW_PIECES = 5


class Load:
    """Kept and new connections, slow bodies and a WebSocket, all at once."""

    def __init__(self, url: str) -> None:
        self.answered: Counter[str] = Counter()
        """Requests by the version that answered."""
        self.failures: list[str] = []
        self._url = url
        self._is_over = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        kinds = [self._kept] * 4 + [self._fresh] * 2 + [self._slow] * 4 + [self._websocket]
        clients = [asyncio.create_task(self._again_and_again(kind)) for kind in kinds]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*clients)

    async def _again_and_again(
        self, kind: Callable[[aiohttp.ClientSession], Awaitable[str]]
    ) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._is_over:
                try:
                    async with asyncio.timeout(20):
                        self.answered[await kind(session)] += 1
                except (aiohttp.ClientError, TimeoutError, OSError, AssertionError) as error:
                    self.failures.append(f"{kind.__name__}: {error!r}")

    async def _kept(self, session: aiohttp.ClientSession) -> str:
        async with session.get(self._url) as answer:
            assert answer.status == 200, answer.status
            return await answer.text()

    async def _fresh(self, _: aiohttp.ClientSession) -> str:
        async with aiohttp.ClientSession() as session:
            return await self._kept(session)

    async def _slow(self, session: aiohttp.ClientSession) -> str:
        async with session.post(f"{self._url}/echo", data=self._drip()) as answer:
            assert answer.status == 200, answer.status
            assert await answer.read() == b"piece" * SLOW_PIECES
            return answer.headers["X-Version"]

    async def _websocket(self, session: aiohttp.ClientSession) -> str:
        """Talk until the version that answers is retired: that is a close with 1001."""
        async with session.ws_connect(f"{self._url}/ws") as socket:
            version = ""
            while not self._is_over:
                await socket.send_str("hello")
                message = await socket.receive()
                if message.type != aiohttp.WSMsgType.TEXT:
                    assert socket.close_code == 1001, socket.close_code
                    break
                version = message.data.partition(" ")[0]
                await asyncio.sleep(0.01)
            return version

    async def _drip(self) -> AsyncIterator[bytes]:
        for _ in range(SLOW_PIECES):
            yield b"piece"
            await asyncio.sleep(0.05)
