"""Endpoints: what a route declares, and the walk of a request through it.

A route names the permission it needs or says that it is open; without either it cannot be made.
Its function's name is the OpenAPI operation, its docstring's first line the summary.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NotRequired, TypedDict, TypeVar, Unpack

from aiohttp import hdrs, web
from pydantic import BaseModel

from ...domain.access import Actor, Permission, Role, require
from ...domain.errors import OverloadedError
from ...domain.language.parsing import parse
from ...domain.ledger import Receipt
from ...projections.follower import Page
from ..auth import Gatekeeper
from ..services import Services
from .accept import EVENT_STREAM, JSON, preferred
from .intake import Intake
from .parameters import CURSOR, LIMIT, MAX_POSITION, Parameter, read_query, read_whole
from .refusals import MalformedHeaderError, NotAcceptableError
from .strict_json import read_object

LEDGER_POSITION = "Ledger-Position"
IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255

Model = TypeVar("Model", bound=BaseModel)
Answering = Callable[["Call"], Awaitable[web.StreamResponse]]

_NOBODY = Actor("", Role.VIEWER)
"""Who asks at an open route: nobody known, who may do nothing more."""


class Open(Enum):
    """The access of a route that asks for no token."""

    OPEN = "open"


@dataclass(frozen=True)
class Gives:
    """One successful answer: its status, the type of its document, its media type."""

    status: int
    document: Any
    media: str = JSON
    is_change: bool = False
    """Whether it tells with Ledger-Position where the change stands."""


class Declared(TypedDict):
    """What a route declares beside its method and path."""

    needs: Permission | Open
    gives: tuple[Gives, ...]
    query: NotRequired[tuple[Parameter, ...]]
    body: NotRequired[type[BaseModel]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path, and everything that is declared about it."""

    method: str
    path: str
    needs: Permission | Open
    answer: Answering
    gives: tuple[Gives, ...]
    query: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.needs, Permission | Open):  # pyright: ignore[reportUnnecessaryIsInstance]
            message = f"{self.method} {self.path} says neither what it needs nor that it is open"
            raise TypeError(message)

    @property
    def has_body(self) -> bool:
        """Whether a request brings a document."""
        return self.body is not None

    @property
    def media(self) -> tuple[str, ...]:
        """The media types it offers."""
        return tuple(dict.fromkeys(given.media for given in self.gives))


class Table(list[Route]):
    """The routes of one resource, each declared above the function that answers it."""

    def get(self, path: str, **declared: Unpack[Declared]) -> Callable[[Answering], Answering]:
        """Declare a read."""
        return self._route(hdrs.METH_GET, path, declared)

    def put(self, path: str, **declared: Unpack[Declared]) -> Callable[[Answering], Answering]:
        """Declare a definition of what stands at the path."""
        return self._route(hdrs.METH_PUT, path, declared)

    def post(self, path: str, **declared: Unpack[Declared]) -> Callable[[Answering], Answering]:
        """Declare an action."""
        return self._route(hdrs.METH_POST, path, declared)

    def delete(self, path: str, **declared: Unpack[Declared]) -> Callable[[Answering], Answering]:
        """Declare that something is taken back."""
        return self._route(hdrs.METH_DELETE, path, declared)

    def _route(
        self, method: str, path: str, declared: Declared
    ) -> Callable[[Answering], Answering]:
        def add(answer: Answering) -> Answering:
            self.append(Route(method=method, path=path, answer=answer, **declared))
            return answer

        return add


@dataclass(slots=True)
class Call:
    """One request that has passed: who asks for what."""

    request: web.Request
    services: Services
    gatekeeper: Gatekeeper
    actor: Actor
    media: str
    query: dict[str, Any]
    raw: bytes = b""
    named: dict[str, str] = field(init=False)
    """The placeholders of the path."""

    def __post_init__(self) -> None:
        self.named = self.request.match_info

    async def may_go_on(self) -> bool:
        """Say whether the token of a long answer is valid still."""
        return await self.gatekeeper.knows(self.request)

    @property
    def document(self) -> dict[str, Any]:
        """The body's JSON object; MalformedJsonError if it is none."""
        return read_object(self.raw)

    def body(self, model: type[Model]) -> Model:
        """Return the body as a model; MalformedJsonError or InvalidError if it is none."""
        return parse(model, self.document)

    @property
    def key(self) -> str | None:
        """The Idempotency-Key; MalformedHeaderError for one that is unbounded or unprintable."""
        keys = self.request.headers.getall(IDEMPOTENCY_KEY, [])
        if not keys:
            return None
        if len(keys) > 1 or not (0 < len(keys[0]) <= MAX_KEY and _is_visible(keys[0])):
            raise MalformedHeaderError(header=IDEMPOTENCY_KEY)
        return keys[0]


DECLARED = web.AppKey("declared", list[Route])


class Endpoints:
    """Turns routes into aiohttp handlers that share services, gatekeeper and limits."""

    def __init__(self, services: Services, gatekeeper: Gatekeeper) -> None:
        self._services = services
        self._limits = services.limits
        self._gatekeeper = gatekeeper
        self._intake = Intake(services.limits)
        self._in_flight = 0

    def handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return what answers a route: permission, form, visibility, then its own answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            call = await self._admit(route, request)
            if not route.has_body:
                return await self._answer(route, call)
            async with self._intake.body(request) as call.raw:
                return await self._answer(route, call)

        return handle

    async def _admit(self, route: Route, request: web.Request) -> Call:
        if isinstance(route.needs, Open):
            actor = _NOBODY
        else:
            actor = await self._gatekeeper.actor(request)
            require(actor, route.needs)
        media = preferred(request.headers.get(hdrs.ACCEPT), route.media)
        if media is None:
            raise NotAcceptableError(offers=", ".join(route.media))
        query = read_query(request, route.query)
        return Call(request, self._services, self._gatekeeper, actor, media, query)

    async def _answer(self, route: Route, call: Call) -> web.StreamResponse:
        if LEDGER_POSITION in call.request.headers and route.method == hdrs.METH_GET:
            await self._wait_until_visible(call.request.headers[LEDGER_POSITION])
        if route.needs is Open.OPEN or call.media == EVENT_STREAM:
            # Probes tell of a full server, and streams are bounded on their own.
            return await route.answer(call)
        if self._in_flight >= self._limits.requests or (
            route.method != hdrs.METH_GET
            and self._services.waiting_appends() >= self._limits.appends
        ):
            raise OverloadedError
        self._in_flight += 1
        try:
            return await route.answer(call)
        finally:
            self._in_flight -= 1

    async def _wait_until_visible(self, text: str) -> None:
        position = read_whole(text, 0, MAX_POSITION)
        if position is None:
            raise MalformedHeaderError(header=LEDGER_POSITION)
        await self._services.follower.reached(position, self._limits.visible_seconds)


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


def told(receipt: Receipt) -> dict[str, str]:
    """Return the headers that tell of a change, and whether it was made before under its key."""
    headers = {LEDGER_POSITION: str(receipt.position)}
    if receipt.known:
        headers[REPLAYED] = "true"
    return headers


def page_of(call: Call) -> Page:
    """Return which part of a list a call asks for."""
    return Page(
        **{name: call.query[name] for name in (LIMIT.name, CURSOR.name) if name in call.query}
    )
