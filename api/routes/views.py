"""Route of the read models: fold the log into them anew."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from ...domain.access import Permission
from ...domain.errors import InvalidError
from ...projections.follower import Rebuilt
from ..wire import answers
from ..wire.endpoint import Call, Gives, Table
from ..wire.parameters import STREAM

routes = Table()


class Rebuild(BaseModel):
    """What is folded anew: everything, or what depends on one stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    stream: str | None = None


@routes.post(
    "/v1/views/rebuild",
    needs=Permission.VIEWS_REBUILD,
    body=Rebuild,
    gives=(Gives(HTTPStatus.OK, Rebuilt),),
)
async def rebuild_views(call: Call) -> web.StreamResponse:
    """Fold the log into the read models anew, beside those that are read meanwhile."""
    stream = call.body(Rebuild).stream
    if stream is None:
        return answers.document(call.request, await call.services.follower.rebuild())
    if STREAM.kind.read(stream) is None:
        raise InvalidError(STREAM.kind.sentence, pointer="/stream")
    return answers.document(call.request, await call.services.follower.rebuild_stream(stream))
