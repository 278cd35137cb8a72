"""The HTTP server: the application made of all routes, and what every request passes on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter

from aiohttp import hdrs, web

from ..domain.errors import LedgerError
from . import problems
from .routes import ROUTES
from .routes.stream import STREAMS, Streams
from .routes.tokens import KEPT, Kept
from .services import Services
from .signals import logs
from .signals.metrics import UNMATCHED, Metrics
from .wire.endpoint import DECLARED, Endpoints, Route
from .wire.refusals import MalformedRequestError, RateLimitedError

MAX_PIPELINED = 16
"""How many requests of one connection may wait behind the one that is answered."""

_log = logs.get("http")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class UndeclaredRouteError(TypeError):
    """A route is served that no declaration stands for."""


def make_app(services: Services, routes: Iterable[Route] = ROUTES) -> web.Application:
    """Return the application that answers the routes; it needs no more than the services."""
    app = web.Application(middlewares=[_passage(services.metrics)])
    app[STREAMS] = streams = Streams()
    app[KEPT] = Kept()
    app[DECLARED] = tuple(routes)
    app.on_shutdown.append(streams.end)
    endpoints = Endpoints(services)
    check_declared(app, [_add(app, endpoints, route) for route in app[DECLARED]])
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
        return app.router.add_get(route.path, handler)
    return app.router.add_route(route.method, route.path, handler)


def _passage(metrics: Metrics) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Return the middleware: refusals become problems, every answer is counted and logged."""

    @web.middleware
    async def passage(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        instance = None
        try:
            _check_connection(request)
            answer = await handler(request)
        except (LedgerError, web.HTTPException) as error:
            instance = problems.new_instance()
            answer = _refusal(error, instance)
        except ConnectionError:
            # The client has gone in the middle of its body: nobody is there to be answered.
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a problem
            instance = problems.new_instance()
            _log.exception("fault", path=request.path, instance=instance)
            answer = problems.of_fault(instance)
        if not answer.prepared:
            answer.headers[hdrs.SERVER] = "shipslog"
            answer.headers["X-Content-Type-Options"] = "nosniff"
        seconds = perf_counter() - began
        metrics.observe(request.method, _template(request), answer.status, seconds)
        _log_request(request, answer, seconds, instance)
        return answer

    return passage


def _refusal(error: LedgerError | web.HTTPException, instance: str) -> web.Response:
    if isinstance(error, web.HTTPException):
        return problems.of_http(error, instance)
    answer = problems.of_error(error, instance)
    if answer.status >= 500:  # noqa: PLR2004 - from here on it is our fault
        _log.error("failure", instance=instance, exc_info=error)
    if isinstance(error, RateLimitedError):
        answer.force_close()
    return answer


def _check_connection(request: web.Request) -> None:
    # No client of ours sends requests ahead; whoever does so in bulk is cut off.
    if len(getattr(request.protocol, "_messages", ())) > MAX_PIPELINED:
        raise RateLimitedError(retry_after=1)
    if "%00" in request.rel_url.raw_path:
        raise MalformedRequestError


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def _log_request(
    request: web.Request, answer: web.StreamResponse, seconds: float, instance: str | None
) -> None:
    # The query is left out: a person may have put a token there.
    fields = {
        "method": request.method,
        "path": request.path,
        "status": answer.status,
        "ms": round(seconds * 1000, 2),
        "remote": request.remote,
    }
    if instance:
        fields["instance"] = instance
    _log.info("request", **fields)
