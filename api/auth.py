"""Authentication: a bearer token becomes an actor; sources that guess are told to wait."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from aiohttp import hdrs, web

from ..domain.access import Actor
from ..domain.errors import UnauthenticatedError
from ..domain.ports import Clock
from .services import Services
from .wire.refusals import MalformedHeaderError, RateLimitedError

TOKEN_PREFIX = "slp_"  # noqa: S105 - what every token begins with
MAX_TOKEN = 200
KNOWN_SECONDS = 1.0
"""How long at most a token is let in that was voided by another way than this server's route."""
MAX_KNOWN = 1024
WINDOW_SECONDS = 60
MAX_SOURCES = 4096


class Gatekeeper:
    """Knows who asks."""

    def __init__(self, services: Services) -> None:
        self._tokens = services.tokens
        self._clock = services.clock
        self._known: dict[bytes, tuple[Actor, float]] = {}
        self._forgotten = 0
        self._failures = Failures(services.clock, services.limits.bad_tokens)

    async def actor(self, request: web.Request) -> Actor:
        """Return who a request's token was made out for.

        Errors: UnauthenticatedError without a valid one, MalformedHeaderError for two headers,
        RateLimitedError for a source that sent too many bad ones.
        """
        headers = request.headers.getall(hdrs.AUTHORIZATION, ())
        if len(headers) > 1:
            raise MalformedHeaderError(header=hdrs.AUTHORIZATION)
        if not headers:
            raise UnauthenticatedError
        if actor := await self._find(headers[0]):
            return actor
        self._failures.count(request.remote or "")
        raise UnauthenticatedError

    async def knows(self, request: web.Request) -> bool:
        """Say whether the token of a request that was let in is valid still."""
        return await self._find(request.headers.get(hdrs.AUTHORIZATION, "")) is not None

    def known(self, header: str) -> Actor | None:
        """Return who sends this header, where that was found out a moment ago."""
        return self._remembered(_digest(header))

    def forget(self) -> None:
        """Look every token up again."""
        self._known.clear()
        self._forgotten += 1

    async def _find(self, header: str) -> Actor | None:
        digest = _digest(header)
        if actor := self._remembered(digest):
            return actor
        now = self._clock.now().timestamp()
        forgotten = self._forgotten
        actor = await self._look_up(header)
        if actor is not None and forgotten == self._forgotten:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[digest] = actor, now + KNOWN_SECONDS
        return actor

    def _remembered(self, digest: bytes) -> Actor | None:
        actor, until = self._known.get(digest, (None, 0.0))
        return actor if self._clock.now().timestamp() < until else None

    async def _look_up(self, header: str) -> Actor | None:
        # The table holds digests: what is compared takes no time that would tell of a secret.
        scheme, _, token = header.partition(" ")
        is_token = scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX)
        return await self._tokens.find(token) if is_token and len(token) <= MAX_TOKEN else None


def _digest(header: str) -> bytes:
    return sha256(header.encode("utf-8", "surrogateescape")).digest()


class Failures:
    """Counts bad tokens by source and minute, for a bounded number of sources."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def count(self, source: str) -> None:
        """Count one; RateLimitedError where the source has had its share of this minute."""
        now = int(self._clock.now().timestamp())
        window = now // WINDOW_SECONDS
        known, count = self._counts.pop(source, (window, 0))
        count = count + 1 if known == window else 1
        self._counts[source] = window, count
        if len(self._counts) > MAX_SOURCES:
            self._counts.popitem(last=False)
        if count > self._most:
            raise RateLimitedError(retry_after=WINDOW_SECONDS - now % WINDOW_SECONDS)
