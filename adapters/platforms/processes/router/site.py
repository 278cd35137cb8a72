"""What the users of one target reach: its route, and how a request is given to a revision."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect
from http import HTTPStatus
from itertools import accumulate
from typing import cast

from .....domain.ports import Route
from .connection import Connection, HeadTooLargeError
from .exchange import Exchange, refuse
from .http1 import MalformedError, Request
from .revision import Revision

HEAD_WITHIN = 10.0
"""Seconds a client has for the head of a request, from its first byte on."""
STALLED = 60.0
"""Seconds after which a client that sends nothing, or takes nothing, is closed."""
LINGER = 2.0
"""Seconds in which the rest of an unwanted body is read, so that the answer is not lost with it."""
WHOLE = 10_000
"""Basis points."""
_STRIDE = 6181
"""No factor in common with WHOLE, and near the golden section of it: see `Site.pick`."""


class Site:
    """A target's revisions and the route among them."""

    def __init__(self) -> None:
        self.revisions: dict[str, Revision] = {}
        self._routed: tuple[Route, list[int], list[Revision]] | None = None
        self._point = 0

    @property
    def route(self) -> Route | None:
        """The route in force."""
        return self._routed[0] if self._routed else None

    @route.setter
    def route(self, route: Route) -> None:
        weighted = {name: weight for name, weight in route.weights.items() if weight}
        revisions = [self.revisions[name] for name in weighted]
        self._routed = route, list(accumulate(weighted.values())), revisions

    def pick(self) -> Revision | None:
        """Return the revision for the next request.

        Steps of a fixed stride visit every basis point once in 10,000 requests, evenly spread:
        each revision gets its exact weight, also of a few hundred.
        """
        if self._routed is None or not self._routed[2]:
            return None
        self._point = (self._point + _STRIDE) % WHOLE
        _, bounds, revisions = self._routed
        return revisions[bisect(bounds, self._point)]


async def serve(client: Connection, site: Site) -> None:
    """Answer a client's requests one after the other, until either side has enough."""
    client.patience = STALLED
    try:
        while await client.arrived():
            async with asyncio.timeout(HEAD_WITHIN):
                request = Request(await client.head())
            if not await _answer(client, request, site):
                await _linger(client)
                break
    except MalformedError:
        await _turn_away(client, HTTPStatus.BAD_REQUEST)
    except HeadTooLargeError:
        await _turn_away(client, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    except (TimeoutError, ConnectionError, asyncio.CancelledError):
        client.abort()
    finally:
        client.close()


async def _answer(client: Connection, request: Request, site: Site) -> bool:
    # Between the choice and the count nothing may run: a revision with no request in flight ends.
    revision = site.pick()
    if revision is None:
        return await refuse(client, HTTPStatus.SERVICE_UNAVAILABLE, b"Retry-After: 1\r\n")
    task = cast("asyncio.Task[None]", asyncio.current_task())
    revision.enter(task)
    client.on_gone = task.cancel  # also when it closes its half only: few do that and stay
    try:
        return await Exchange(client, request, revision).run()
    finally:
        client.on_gone = None
        revision.leave(task)


async def _turn_away(client: Connection, status: HTTPStatus) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError):
        await refuse(client, status)
        await _linger(client)


async def _linger(client: Connection) -> None:
    """Read what the client still sends: a close with unread bytes would take back the answer."""
    client.end()
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(LINGER):
            while await client.some():
                pass
