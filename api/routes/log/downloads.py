"""Downloads: exports on their way to clients, few at once; whatever goes wrong is seen as a cut.

What an export holds while its client reads slowly is two batches in memory and the stretch that
comes next, and nothing of the store. A client that takes nothing for a while is cut off, so that
others get its place.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing, contextmanager

from aiohttp import hdrs, web

from ....domain.errors import OverloadedError, UnauthenticatedError
from ....projections.exports import Chunk
from ...exporting import batches
from ...services import Limits
from ...signals import logs
from ...signals.metrics import Metrics
from ...wire.endpoint import Call

THREADS = 2
"""That make lines: one while the other waits for the database; more would outdo the event loop."""
SLICE = 256 * 1024
"""A client has to take so much within the time that a stalled one is given."""

_AT_ONCE = struct.pack("ii", 1, 0)
"""What is unsent is forgotten, and the other end told so."""

_log = logs.get("http")


class Downloads:
    """All exports that one server is at."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tasks: set[asyncio.Task[object]] = set()
        self._threads = [_thread(number) for number in range(THREADS)]
        self._users = Counter[Executor]()

    async def send(
        self, call: Call, headers: Mapping[str, str], chunks: Iterator[Chunk]
    ) -> web.StreamResponse:
        """Send an export to its end, or cut the connection. Errors: OverloadedError."""
        response = web.StreamResponse(headers=headers)
        response.headers["X-Content-Type-Options"] = "nosniff"
        with self._counted(call.services.metrics):
            if call.request.method == hdrs.METH_HEAD:
                return response
            async with aclosing(self._made(call, chunks)) as made:
                # Until it is made, a fault can be told as one.
                first = await anext(made, b"")
                try:
                    await response.prepare(call.request)
                    await self._write(response, first)
                    async for content in made:
                        await self._write(response, content)
                    async with asyncio.timeout(self._limits.stalled_seconds):
                        await response.write_eof()
                except BaseException as error:
                    _cut(call.request)
                    if not isinstance(error, Exception):
                        raise
                    if not isinstance(error, ConnectionError | TimeoutError):
                        _log.exception("export cut off", path=call.request.path)
        return response

    async def make(self, call: Call, chunks: Iterator[Chunk]) -> None:
        """Make an export for nobody but who counts it. Errors: OverloadedError."""
        with self._counted(call.services.metrics):
            async with aclosing(self._made(call, chunks)) as made:
                async for _ in made:
                    pass

    async def end(self, _app: web.Application) -> None:
        """Cut every export off; clients go on with the next server."""
        for task in self._tasks:
            task.cancel()
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _made(self, call: Call, chunks: Iterator[Chunk]) -> AsyncGenerator[bytes]:
        with self._lent() as thread:
            async with aclosing(batches(chunks, thread)) as coming:
                async for batch in coming:
                    for chunk in batch:
                        yield chunk.content
                    # Where nothing matches, nothing is written, and no write tells who is there.
                    if call.request.transport is None:
                        raise ConnectionResetError
                    if not await call.may_go_on():
                        raise UnauthenticatedError

    async def _write(self, response: web.StreamResponse, content: bytes) -> None:
        for start in range(0, len(content), SLICE):
            async with asyncio.timeout(self._limits.stalled_seconds):
                await response.write(content[start : start + SLICE])

    @contextmanager
    def _lent(self) -> Generator[Executor]:
        # To the end the same one, and the first where there is a choice: what a thread once had
        # of memory stays its own.
        thread = min(self._threads, key=self._users.__getitem__)
        self._users[thread] += 1
        try:
            yield thread
        finally:
            self._users[thread] -= 1

    @contextmanager
    def _counted(self, metrics: Metrics) -> Generator[None]:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= self._limits.exports:
            raise OverloadedError
        self._tasks.add(task)
        try:
            with metrics.exports.track_inprogress():
                yield
        finally:
            self._tasks.discard(task)


def _thread(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=f"export-{number}")


def _cut(request: web.Request) -> None:
    """Reset a connection, so that nobody takes what came for the whole, not even by HTTP/1.0."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
    request.protocol.force_close()


DOWNLOADS = web.AppKey("downloads", Downloads)
