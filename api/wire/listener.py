"""The listening socket: so many connections, deadlines on slow ones, orderly closing."""

from __future__ import annotations

import asyncio
import resource
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT

from aiohttp import http_parser, web

from ..ready.front import FRONT
from ..services import Limits

SPARE_FILES = 256
"""File descriptors that connections leave to the store, the router and the stages."""
BACKLOG = 1024
MAX_LINE = 8190
MAX_HEADERS = 128

_FULL_PROBLEM = b"""{"type": "urn:shipslog:problem:overloaded", "title": "Overloaded",
 "status": 503, "detail": "There are too many connections."}"""
_FULL = b"""HTTP/1.1 503 Service Unavailable\r
Content-Type: application/problem+json\r
Retry-After: 1\r
Connection: close\r
Content-Length: %d\r
\r
%b""" % (len(_FULL_PROBLEM), _FULL_PROBLEM)


class PurePythonParserError(RuntimeError):
    """aiohttp runs without its compiled parser, which is the one that refuses smuggled requests."""


class Listener:
    """Serves an application at one address until it is stopped."""

    def __init__(self, app: web.Application, limits: Limits | None = None) -> None:
        require_compiled_parser()
        limits = limits or Limits()
        self.runner = runner_of(app, limits)
        self._most = min(limits.connections, _files(limits.connections) - SPARE_FILES)
        self._patience_ms = int(limits.stalled_seconds * 1000)
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the host and port; port 0 takes a free one."""
        await self.runner.setup()
        if self.runner.server is not None and (front := self.runner.app.get(FRONT)):
            self.runner.server.request_handler = front.before(self.runner.server.request_handler)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, backlog=BACKLOG)
        listening = self._server.sockets[0]
        # Inherited by every connection: what its client does not take, for so long, ends it.
        listening.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, self._patience_ms)
        address = listening.getsockname()
        return address[0], address[1]

    async def stop(self) -> None:
        """Take no more connections, let requests end for a while, close the rest."""
        if self._server is not None:
            self._server.close()
        await self.runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        server = self.runner.server
        if server is None or len(server.connections) >= self._most:
            return _Full()
        return server()


class _Full(asyncio.Protocol):
    """Tells one connection too many to come back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(_FULL)
        transport.close()


def runner_of(app: web.Application, limits: Limits) -> web.AppRunner:
    """Return the runner of an application, with every limit that aiohttp itself keeps."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        # A command that has begun is carried out, also for a client that has gone.
        handler_cancellation=False,
        keepalive_timeout=limits.idle_seconds,
        lingering_time=limits.linger_seconds,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        max_headers=MAX_HEADERS,
        shutdown_timeout=limits.drain_seconds,
    )


def require_compiled_parser() -> None:
    """Raise PurePythonParserError where aiohttp would parse requests in Python."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise PurePythonParserError(PurePythonParserError.__doc__)


def _files(connections: int) -> int:
    """Return how many files this process may open, after asking for all it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
