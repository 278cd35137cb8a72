"""The HTTP server: the application made of all routes, and what every request passes on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ..domain.errors import LedgerError
from . import problems
from .auth import Gatekeeper
from .ready.front import FRONT, Front
from .ready.statuses import STATUSES, Statuses
from .routes import ROUTES
from .routes.log.downloads import DOWNLOADS, Downloads
from .routes.log.stream import STREAMS, Streams
from .routes.probes import OPENAPI, Openapi
from .routes.tokens import KEPT, Kept
from .sending import Sending
from .services import Services
from .signals import logs
from .signals.metrics import UNMATCHED, Metrics
from .wire.endpoint import DECLARED, Endpoints, Route
from .wire.refusals import MalformedRequestError, RateLimitedError

MAX_PIPELINED = 16
"""How many requests of one connection may wait behind the one that is answered."""
CUT_OFF_SECONDS = 1.0

Answer = TypeVar("Answer", bound=web.StreamResponse)

_log = logs.get("http")


class UndeclaredRouteError(TypeError):
    """A route is served that no declaration stands for."""


def make_app(services: Services, routes: Iterable[Route] = ROUTES) -> web.Application:
    """Return the application that answers the routes; it needs no more than the services."""
    app = web.Application(middlewares=[_passage(services.metrics, Sending(services.limits))])
    app[STREAMS] = streams = Streams(services.limits)
    app[DOWNLOADS] = downloads = Downloads(services.limits)
    app[KEPT] = Kept()
    gatekeeper = Gatekeeper(services)
    app[STATUSES] = statuses = Statuses(services)
    app[FRONT] = Front(services, statuses, gatekeeper)
    app[DECLARED] = declared = list(routes)
    app[OPENAPI] = Openapi(declared)
    app.on_shutdown.append(streams.end)
    app.on_shutdown.append(downloads.end)
    endpoints = Endpoints(services, gatekeeper)
    check_declared(app, [_add(app, endpoints, route) for route in declared])
    return app


def check_declared(app: web.Application, declared: Iterable[web.AbstractRoute]) -> None:
    """Raise UndeclaredRouteError where the application serves more than what was declared."""
    known = {(route.resource, route.handler) for route in declared}
    for route in app.router.routes():
        if (route.resource, route.handler) not in known:
            raise UndeclaredRouteError(str(route))


def _add(app: web.Application, endpoints: Endpoints, route: Route) -> web.AbstractRoute:
    handler = endpoints.handler(route)
    if route.method == hdrs.METH_GET:
        return app.router.add_get(route.path, handler, expect_handler=_expect)
    return app.router.add_route(route.method, route.path, handler, expect_handler=_expect)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Ask for the body where the client waits to be asked; aiohttp would refuse in plain text."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return _named(problems.of_http(web.HTTPExpectationFailed(), problems.new_instance()))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


def _passage(metrics: Metrics, sending: Sending) -> Middleware:
    """Return the middleware: refusals become problems, every answer is counted and logged."""

    @web.middleware
    async def passage(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        instance = None
        try:
            _check_connection(request)
            answer = _named(await handler(request))
            await sending.send(request, answer)
        except (LedgerError, web.HTTPException) as error:
            instance = problems.new_instance()
            answer = _refusal(error, instance)
        except (ConnectionError, web.RequestPayloadError):
            # The body broke off: most likely nobody is there any more to be answered.
            instance = problems.new_instance()
            answer = problems.of_error(MalformedRequestError(), instance)
            answer.force_close()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a problem
            instance = problems.new_instance()
            _log.exception("fault", path=request.path, instance=instance)
            answer = problems.of_fault(instance)
        _named(answer)
        seconds = perf_counter() - began
        if instance and _is_pipelined(request):
            await _cut_off(request, answer)
        metrics.counted(request.method, _template(request), answer.status).add(seconds)
        logs.note_request(
            logs.Line(
                request.method, request.path, answer.status, seconds, request.remote, instance
            )
        )
        return answer

    return passage


def _named(answer: Answer) -> Answer:
    """Return an answer with the headers that every one has."""
    if not answer.prepared:
        answer.headers[hdrs.SERVER] = "shipslog"
        answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _refusal(error: LedgerError | web.HTTPException, instance: str) -> web.Response:
    if isinstance(error, web.HTTPException):
        return problems.of_http(error, instance)
    answer = problems.of_error(error, instance)
    if answer.status >= 500:  # noqa: PLR2004 - from here on it is our fault
        _log.error("failure", instance=instance, exc_info=error)
    return answer


def _is_pipelined(request: web.Request) -> bool:
    return len(getattr(request.protocol, "_messages", ())) > MAX_PIPELINED


async def _cut_off(request: web.Request, answer: web.StreamResponse) -> None:
    """Send an answer, then take in and forget what comes, so that closing does not destroy it."""
    answer.force_close()
    await answer.prepare(request)
    await answer.write_eof()
    request.protocol.close()
    if request.transport is not None:
        request.transport.resume_reading()
        await asyncio.sleep(CUT_OFF_SECONDS)


def _check_connection(request: web.Request) -> None:
    if _is_pipelined(request):
        raise RateLimitedError(retry_after=1)
    if "%00" in request.rel_url.raw_path:
        raise MalformedRequestError


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical
