"""A client that asks as fast as it is answered, on so many connections, and costs little itself."""

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter

LEAST = 50
"""Answers in a round, however long they take."""


class Asking(asyncio.Protocol):
    """One connection: the next request goes out as soon as an answer is whole."""

    def __init__(self, requests: Iterator[bytes], answered: Callable[[], None]) -> None:
        self._requests = requests
        self._answered = answered
        self._taken = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._taken += data
        head, split, body = self._taken.partition(b"\r\n\r\n")
        if not split:
            return
        assert head.startswith(b"HTTP/1.1 2"), self._taken
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) == int(length):
            self._taken = b""
            self._answered()
            self._transport.write(next(self._requests))


async def ask(
    port: int, requests: Iterator[bytes], connections: int, seconds: float
) -> tuple[int, float]:
    """Return how many answers came, and in how many seconds: in so many at least."""
    answered = 0
    enough = asyncio.Event()

    def count() -> None:
        nonlocal answered
        answered += 1
        if answered == LEAST:
            enough.set()

    loop = asyncio.get_running_loop()
    transports: list[asyncio.BaseTransport] = []
    began = perf_counter()
    for _ in range(connections):
        opened = await loop.create_connection(lambda: Asking(requests, count), "127.0.0.1", port)
        transports.append(opened[0])
    await asyncio.sleep(seconds)
    await enough.wait()
    lasted = perf_counter() - began
    for transport in transports:
        transport.close()
    return answered, lasted
