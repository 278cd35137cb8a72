"""Health checks over HTTP and TCP: one question, bounded in time and bytes, never an exception."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

import aiohttp

from ...domain.ports import ProbeAnswer

MAX_BODY_BYTES = 64 * 1024
"""What is read of an answer; one that is longer has answered."""


class HttpProbe:
    """Asks each time over a connection of its own; keeps no cookies and follows no redirect."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def http(self, url: str, expect: int, timeout: float) -> ProbeAnswer:
        """See `Probe.http`; the whole answer, or its first 64 KiB, must come in time."""
        return await _asked(self._get(url, expect), timeout)

    async def tcp(self, host: str, port: int, timeout: float) -> ProbeAnswer:
        """See `Probe.tcp`."""
        return await _asked(_connect(host, port), timeout)

    async def close(self) -> None:
        """Close what is open."""
        if self._session:
            await self._session.close()

    async def _get(self, url: str, expect: int) -> tuple[bool, str]:
        session = self._session = self._session or _session()
        async with session.get(url, allow_redirects=False) as answer:
            left = MAX_BODY_BYTES
            while left > 0 and (piece := await answer.content.read(left)):
                left -= len(piece)
            passed = answer.status == expect
            return passed, f"{answer.status}" if passed else f"{answer.status}, expected {expect}"


async def _asked(question: Awaitable[tuple[bool, str]], timeout: float) -> ProbeAnswer:
    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            passed, detail = await question
    except TimeoutError:
        passed, detail = False, f"no whole answer within {timeout:g} s"
    except (OSError, ValueError, aiohttp.ClientError) as error:
        passed, detail = False, _one_line(error)
    return ProbeAnswer(passed, detail, time.monotonic() - began)


async def _connect(host: str, port: int) -> tuple[bool, str]:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True, "connected"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
