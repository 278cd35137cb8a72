"""Reads request bodies: of one type, plain, in time, within a budget of bytes for all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import hdrs, web

from ...domain.errors import OverloadedError
from ..services import Limits
from .accept import JSON
from .refusals import BodyTimeoutError, BodyTooLargeError, UnsupportedMediaError

MAX_BODY = 1024 * 1024


class Intake:
    """Counts the bytes of all bodies that are being read or worked on."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.body_bytes
        self._seconds = limits.body_seconds

    @asynccontextmanager
    async def body(self, request: web.Request) -> AsyncGenerator[bytes]:
        """Give a request's body, and let go of its share of the budget afterwards.

        Errors: UnsupportedMediaError, BodyTooLargeError, BodyTimeoutError, OverloadedError.
        """
        _check_headers(request)
        body = bytearray()
        try:
            await self._read(request, body)
            yield bytes(body)
        finally:
            self._left += len(body)

    async def _read(self, request: web.Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._left -= len(chunk)
                    if len(body) > MAX_BODY:
                        raise BodyTooLargeError(limit=MAX_BODY)
                    if self._left < 0:
                        raise OverloadedError
        except TimeoutError:
            raise BodyTimeoutError(seconds=self._seconds) from None


def _check_headers(request: web.Request) -> None:
    encodings = {request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()}
    encodings |= {request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").lower()}
    if encodings != {"identity", "chunked"}:
        raise UnsupportedMediaError(expected="sent as it is, without compression")
    if request.content_type != JSON or (request.charset or "utf-8").lower() != "utf-8":
        raise UnsupportedMediaError(expected=f"{JSON} in UTF-8")
    if (request.content_length or 0) > MAX_BODY:
        raise BodyTooLargeError(limit=MAX_BODY)
