"""The routes of the HTTP API, one file a resource."""

from ..wire.endpoint import Route
from . import (
    actions,
    definitions,
    deployments,
    history,
    probes,
    targets,
    tokens,
    views,
)
from .log import events, exports

ROUTES: tuple[Route, ...] = (
    *probes.routes,
    *definitions.routes,
    *deployments.routes,
    *actions.routes,
    *targets.routes,
    *history.routes,
    *events.routes,
    *exports.routes,
    *views.routes,
    *tokens.routes,
)
"""Every route there is."""
