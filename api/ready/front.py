"""Front: the short way of plain requests for a status; every other request goes the long way.

The short way takes what nearly all clients send: HTTP/1.1, no body, no query, one token that was
let in a moment ago, a position that is visible by now. Whatever is unusual, and whatever would be
refused, goes the long way, which alone knows refusals; so the short way decides nothing anew.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import cast

from aiohttp import HttpVersion11, hdrs, web

from ...domain.access import Permission
from ..auth import Gatekeeper
from ..services import Services
from ..signals import logs
from ..wire import etag
from ..wire.accept import JSON
from ..wire.endpoint import LEDGER_POSITION
from ..wire.parameters import MAX_POSITION, read_whole
from .statuses import PATH, Status, Statuses
from .written import Written

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ROUTE = PATH + "{id}"
_PLAIN = re.compile(re.escape(PATH) + "[0-9a-f-]{36}")
_TAKES_JSON = {None, "*/*", JSON}


class Front:
    """Stands before an application."""

    def __init__(self, services: Services, statuses: Statuses, gatekeeper: Gatekeeper) -> None:
        self._statuses = statuses
        self._gatekeeper = gatekeeper
        self._follower = services.follower
        self._whole = services.metrics.counted("GET", _ROUTE, 200)
        self._unchanged = services.metrics.counted("GET", _ROUTE, 304)

    def before(self, long_way: Answering) -> Answering:
        """Return what answers every request of a server."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            written = await self._answer(request)
            return await long_way(request) if written is None else _as_answer(written)

        return answer

    async def _answer(self, request: web.BaseRequest) -> Written | None:
        """Return a status, or None for a request that goes the long way."""
        began = perf_counter()
        path = request.raw_path
        status = self._statuses.ready(path)
        if (status is None and _PLAIN.fullmatch(path) is None) or not self._is_plain(request):
            return None
        if status is None:
            try:
                status = await self._statuses.get(path.removeprefix(PATH))
            except Exception:  # noqa: BLE001 - the long way will meet it too, and says so
                return None
        return self._answered(request, status, began)

    def _is_plain(self, request: web.BaseRequest) -> bool:
        headers = request.headers
        if (
            request.method != hdrs.METH_GET
            or request.version != HttpVersion11
            or request.body_exists
            or not request.keep_alive
            or request.protocol._messages  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            or headers.get(hdrs.ACCEPT) not in _TAKES_JSON
            or hdrs.IF_MATCH in headers
            or hdrs.EXPECT in headers
            or hdrs.UPGRADE in headers
        ):
            return False
        tokens = headers.getall(hdrs.AUTHORIZATION, ())
        actor = self._gatekeeper.known(tokens[0]) if len(tokens) == 1 else None
        if actor is None or Permission.LEDGER_READ not in actor.role.permissions:
            return False
        if (text := headers.get(LEDGER_POSITION)) is None:
            return True
        position = read_whole(text, 0, MAX_POSITION)
        return position is not None and position <= self._follower.position

    def _answered(self, request: web.BaseRequest, status: Status, began: float) -> Written:
        wanted = request.headers.get(hdrs.IF_NONE_MATCH)
        is_known = wanted is not None and etag.is_named(wanted, status.tag, weakly=True)
        seconds = perf_counter() - began
        (self._unchanged if is_known else self._whole).add(seconds)
        answer = status.unchanged if is_known else status.whole
        logs.note_read(request.raw_path, answer.status, seconds, request.remote)
        return answer


def _as_answer(written: Written) -> web.StreamResponse:
    return cast("web.StreamResponse", written)


FRONT = web.AppKey("front", Front)
