"""Routes of targets: what runs where, now or at any time before."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from aiohttp import web

from ...domain.access import Permission
from ...domain.errors import NotFoundError
from ...projections import targets
from ..wire import answers, parameters
from ..wire.documents import Page
from ..wire.endpoint import Call, Gives, Table, page_of
from .standing import place_at, position_of

routes = Table()


@routes.get(
    "/v1/targets",
    needs=Permission.LEDGER_READ,
    query=(
        parameters.ENVIRONMENT,
        parameters.SERVICE,
        parameters.AS_OF,
        parameters.LIMIT,
        parameters.CURSOR,
    ),
    gives=(Gives(HTTPStatus.OK, Page[targets.Place]),),
)
async def list_targets(call: Call) -> web.StreamResponse:
    """List what runs where, by environment and service."""
    query = partial(
        targets.listed,
        page=page_of(call),
        environment=call.query.get(parameters.ENVIRONMENT.name),
        service=call.query.get(parameters.SERVICE.name),
    )
    found = await call.services.follower.views.read(query)
    places = found.items
    if (as_of := call.query.get(parameters.AS_OF.name)) is not None:
        position = await position_of(call.services, as_of)
        then = [
            await place_at(call.services, place.environment, place.service, position)
            for place in places
        ]
        places = [place for place in then if place is not None]
    return answers.document(call.request, Page(places, found.next))


@routes.get(
    "/v1/targets/{environment}/{service}",
    needs=Permission.LEDGER_READ,
    query=(parameters.AS_OF,),
    gives=(Gives(HTTPStatus.OK, targets.Place),),
)
async def get_target(call: Call) -> web.StreamResponse:
    """Return what runs at a target, or ran."""
    environment, service = call.named["environment"], call.named["service"]
    as_of = call.query.get(parameters.AS_OF.name)
    if as_of is None:
        query = partial(targets.get, environment=environment, service=service)
        place = await call.services.follower.views.read(query)
    else:
        position = await position_of(call.services, as_of)
        place = await place_at(call.services, environment, service, position)
    if place is None:
        raise NotFoundError(kind="target")
    return answers.document(call.request, place)
