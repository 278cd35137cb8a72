"""Routes for those who watch the server: is it alive, is it ready, its figures, its document."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version

import msgspec
from aiohttp import hdrs, web

from ...domain.access import Permission
from ...projections import deployments
from ..openapi import document
from ..signals.metrics import CONTENT_TYPE, Figures
from ..wire import answers
from ..wire.accept import JSON, TEXT
from ..wire.documents import HealthDocument
from ..wire.endpoint import Call, Gives, Open, Route, Table

routes = Table()
MAX_LAG = 10_000
"""A server whose read models are further behind is alive and not ready."""


class Openapi:
    """A server's document, made when it is first asked for."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = routes

    @cached_property
    def body(self) -> bytes:
        """The document as it is served."""
        return msgspec.json.encode(document(self._routes, version("shipslog")))


OPENAPI = web.AppKey("openapi", Openapi)


@routes.get("/healthz", needs=Open.OPEN, gives=(Gives(HTTPStatus.OK, HealthDocument),))
async def get_health(call: Call) -> web.StreamResponse:
    """Say that the server answers at all."""
    return answers.document(call.request, HealthDocument("alive"))


@routes.get(
    "/readyz",
    needs=Open.OPEN,
    gives=(
        Gives(HTTPStatus.OK, HealthDocument),
        Gives(HTTPStatus.SERVICE_UNAVAILABLE, HealthDocument),
    ),
)
async def get_readiness(call: Call) -> web.StreamResponse:
    """Say whether the store can be written and the read models are near its head."""
    broken, follower = call.services.broken(), call.services.follower
    lag = max(0, await call.services.log.head() - follower.position)
    checks = {
        "store": "broken" if broken else "ok",
        "views": "behind" if lag > MAX_LAG else "ok",
    }
    is_ready = set(checks.values()) == {"ok"}
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    found = HealthDocument("ready" if is_ready else "not ready", checks)
    return answers.document(call.request, found, status=status)


@routes.get("/metrics", needs=Permission.METRICS_READ, gives=(Gives(HTTPStatus.OK, None, TEXT),))
async def get_metrics(call: Call) -> web.StreamResponse:
    """Return this server's metrics in Prometheus' text format."""
    services = call.services
    counts = await services.follower.views.read(deployments.counted)
    figures = Figures(
        head=await services.log.head(),
        followed=services.follower.position,
        deployments=counts,
        waiting_appends=services.waiting_appends(),
    )
    body = services.metrics.text(figures)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


@routes.get("/openapi.json", needs=Open.OPEN, gives=(Gives(HTTPStatus.OK, None, JSON),))
async def get_openapi(call: Call) -> web.StreamResponse:
    """Return this document."""
    body = call.request.app[OPENAPI].body
    return answers.of_bytes(call.request, body, headers={hdrs.CONTENT_TYPE: JSON})
