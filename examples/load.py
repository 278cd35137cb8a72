"""Load: clients of a service, so many requests a second, who notice each one that fails or is cut.

A process of its own: it says on stderr when it begins, ends at SIGTERM or SIGINT or after
--seconds, lets the requests under way finish, and prints one JSON object on stdout. Requests begin
when they are due, however long others take; what a stall delayed is made up for at no more than
CATCH_UP times the rate. Nothing is sent twice: a failed request is a failed request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import aiohttp

CATCH_UP = 2.0
BURST_SECONDS = 0.005
"""What a timer that fires late may owe."""
CONNECTIONS = 16
"""Kept alive and used again and again."""
SHORT = b"." * 512
SLOW_EVERY = 50
"""Every so many requests one has a slow body, up and down in turn."""
SLOW_SECONDS, SLOW_BYTES, SLOW_PIECES = 1.0, 64 * 1024, 16
DEADLINE_SECONDS = 20.0
TOLD = 10
"""Failures that are told in words."""
OK = 200

Request = Callable[[aiohttp.ClientSession], Awaitable[str]]
"""Sends one request and returns the version that answered it."""


class WrongAnswerError(Exception):
    """What came back is not the answer to what was sent."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}, {len(body)} bytes: {body[:80]!r}")


@dataclass
class Version:
    """The requests that one version answered; times are when they were sent, in UTC."""

    count: int = 0
    first_started_at: str = ""
    last_started_at: str = ""


@dataclass
class Tally:
    """What is reported at the end."""

    failed: int = 0
    versions: dict[str, Version] = field(default_factory=dict[str, Version])
    kinds: Counter[str] = field(default_factory=Counter[str])
    latencies: list[float] = field(default_factory=list[float])
    """Milliseconds of the requests without slow bodies, from when each was due."""
    failures: list[str] = field(default_factory=list[str])

    def answered(self, version: str, sent_at: datetime) -> None:
        """Count a whole answer."""
        seen, instant = self.versions.setdefault(version, Version()), sent_at.isoformat()
        seen.count += 1
        seen.first_started_at = min(seen.first_started_at or instant, instant)
        seen.last_started_at = max(seen.last_started_at, instant)

    def missed(self, kind: str, sent_at: datetime, error: Exception) -> None:
        """Count a failed request and keep the first ones in words."""
        self.failed += 1
        if len(self.failures) < TOLD:
            words = f"{type(error).__name__}: {error}".rstrip(": ")
            self.failures.append(f"{sent_at.isoformat()} {kind}: {words}")

    def report(self, seconds: float) -> dict[str, object]:
        """Return the JSON object."""
        requests = self.kinds.total()
        ordered = sorted(self.latencies) or [0.0]
        return {
            "requests": requests,
            "failed": self.failed,
            "seconds": round(seconds, 3),
            "rate": round(requests / seconds, 1),
            "latency_ms": {
                f"p{share}": round(ordered[(len(ordered) - 1) * share // 100], 2)
                for share in (50, 99)
            },
            "kinds": dict(self.kinds),
            "versions": {name: vars(version) for name, version in self.versions.items()},
            "failures": self.failures,
            "cpu_seconds": round(time.process_time(), 2),
        }


async def main() -> None:
    """Send requests until told to end, then report."""
    options = _options()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    if options.seconds:
        asyncio.get_running_loop().call_later(options.seconds, ending.set)
    tally, begun = Tally(), time.monotonic()
    print(f"{options.rate:g} requests a second to {options.url}", file=sys.stderr, flush=True)
    sending = asyncio.create_task(_send(options.url, options.rate, tally, ending))
    await ending.wait()
    seconds = time.monotonic() - begun
    await sending
    print(json.dumps(tally.report(seconds)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, help="end after so long; else at a signal")
    return parser.parse_args()


async def _send(url: str, rate: float, tally: Tally, ending: asyncio.Event) -> None:
    async with AsyncExitStack() as open_ones, asyncio.TaskGroup() as under_way:
        kept = [await open_ones.enter_async_context(_session(url)) for _ in range(CONNECTIONS)]
        fresh = await open_ones.enter_async_context(_session(url, force_close=True))
        number = 0
        async for due in _due(rate, ending):
            name, request = _next(number)
            session = kept[number % CONNECTIONS] if request is _short_up else fresh
            tally.kinds[name] += 1
            under_way.create_task(_counted(name, partial(request, session), tally, due))
            number += 1


def _session(url: str, *, force_close: bool = False) -> aiohttp.ClientSession:
    # Idle connections are given up long before a server would, so that no request meets an end.
    patience = None if force_close else 5.0
    connector = aiohttp.TCPConnector(limit=0, force_close=force_close, keepalive_timeout=patience)
    timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(url, connector=connector, timeout=timeout, cookie_jar=jar)


async def _due(rate: float, ending: asyncio.Event) -> AsyncIterator[float]:
    """Yield when each request is due, as that comes; after a stall no burst."""
    first = sent = time.monotonic()
    number = 0
    while not ending.is_set():
        due, now = first + number / rate, time.monotonic()
        at = max(due, sent + 1 / (rate * CATCH_UP))
        if at > now:
            await asyncio.sleep(at - now)
            continue
        sent = max(at, now - BURST_SECONDS)
        yield due
        number += 1


def _next(number: int) -> tuple[str, Request]:
    if number % SLOW_EVERY == SLOW_EVERY - 1:
        up = number // SLOW_EVERY % 2 == 0
        return ("slow body up", _slow_up) if up else ("slow body down", _slow_down)
    # A POST over the kept ones: a client never repeats it, so no failure is hidden.
    return ("new connection", _get) if number % 3 == 0 else ("keep-alive", _short_up)


async def _counted(
    name: str, request: Callable[[], Awaitable[str]], tally: Tally, due: float
) -> None:
    sent_at = datetime.now(UTC)
    try:
        version = await request()
    except (aiohttp.ClientError, OSError, TimeoutError, WrongAnswerError) as error:
        tally.missed(name, sent_at, error)
        return
    tally.answered(version, sent_at)
    if not name.startswith("slow"):
        tally.latencies.append((time.monotonic() - due) * 1000)


async def _get(session: aiohttp.ClientSession) -> str:
    async with session.get("/") as response:
        return _version(response, await response.read())


async def _short_up(session: aiohttp.ClientSession) -> str:
    async with session.post("/", data=SHORT) as response:
        return _received(response, await response.read(), len(SHORT))


async def _slow_up(session: aiohttp.ClientSession) -> str:
    async with session.post("/", data=_slowly()) as response:
        return _received(response, await response.read(), SLOW_BYTES)


async def _slow_down(session: aiohttp.ClientSession) -> str:
    query = {"bytes": str(SLOW_BYTES), "seconds": str(SLOW_SECONDS)}
    async with session.get("/slow", params=query) as response:
        body = await response.read()
        version = _version(response, body)
        if len(body) != SLOW_BYTES:
            raise WrongAnswerError(response.status, body)
        return version


async def _slowly() -> AsyncIterator[bytes]:
    for _ in range(SLOW_PIECES):
        await asyncio.sleep(SLOW_SECONDS / SLOW_PIECES)
        yield bytes(SLOW_BYTES // SLOW_PIECES)


def _received(response: aiohttp.ClientResponse, body: bytes, sent: int) -> str:
    version = _version(response, body)
    if f'"received": {sent}}}'.encode() not in body:
        raise WrongAnswerError(response.status, body)
    return version


def _version(response: aiohttp.ClientResponse, body: bytes) -> str:
    if response.status != OK:
        raise WrongAnswerError(response.status, body)
    return response.headers.get("X-Version", "unknown")


if __name__ == "__main__":
    asyncio.run(main())
