"""Route of the bounded history of a target."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from sqlalchemy import Connection

from ...domain.access import Permission
from ...domain.errors import NotFoundError
from ...projections import history, targets
from ...projections.follower import Slice
from ..wire import answers, parameters
from ..wire.documents import HistoryDocument, Page
from ..wire.endpoint import Call, Gives, Table, page_of
from ..wire.shown import Shown

routes = Table()


@routes.get(
    "/v1/history/{environment}/{service}",
    needs=Permission.LEDGER_READ,
    query=(parameters.LIMIT, parameters.CURSOR),
    gives=(Gives(HTTPStatus.OK, Page[HistoryDocument]),),
)
async def list_history(call: Call) -> web.StreamResponse:
    """List the newest deployments of a service to an environment, as many as it keeps."""
    environment, service = call.named["environment"], call.named["service"]

    def query(db: Connection) -> Slice[history.Entry]:
        found = history.listed(db, environment, service, page_of(call))
        if not found.items and targets.get(db, environment, service) is None:
            raise NotFoundError(kind="target")
        return found

    found = await call.services.follower.views.read(query)
    items = await Shown(call.services.directory, call.services.keyring).history(found.items)
    return answers.document(call.request, Page(items, found.next))
