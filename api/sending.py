"""Sending: large answers, bounded in bytes all together and in time each.

An answer is in memory until its client has taken it. Whoever takes it too slowly is cut off, and
whoever asks while too much is on its way to others is told to come back.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..domain.errors import OverloadedError
from .services import Limits

LARGE = 64 * 1024
"""Up to here the connection's own buffer takes an answer."""
SLOWEST = 64 * 1024
"""Bytes a second that a client must take."""


class Sending:
    """What is on its way to clients."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.answer_bytes
        self._patience = limits.stalled_seconds

    async def send(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Send an answer that is large; leave every other to aiohttp.

        Errors: OverloadedError where there is too much on its way.
        """
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or len(body) <= LARGE or answer.prepared:
            return
        if len(body) > self._left:
            raise OverloadedError
        self._left -= len(body)
        try:
            async with asyncio.timeout(self._patience + len(body) / SLOWEST):
                await answer.prepare(request)
                await answer.write_eof()
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            request.protocol.force_close()
        finally:
            self._left += len(body)
