"""Route of events: the log, page by page, or as a stream from wherever one was."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from ....domain.access import Permission
from ....domain.errors import InvalidCursorError
from ...wire import answers, parameters
from ...wire.accept import EVENT_STREAM, JSON
from ...wire.documents import EventDocument, Page
from ...wire.endpoint import Call, Gives, Table
from ...wire.parameters import DEFAULT_LIMIT, MAX_POSITION, read_whole
from ...wire.refusals import InvalidParameterError
from .reading import Wanted, page_after, shown_events
from .stream import STREAMS

routes = Table()


@routes.get(
    "/v1/events",
    needs=Permission.LEDGER_READ,
    query=(
        parameters.AFTER,
        parameters.TOPIC,
        parameters.STREAM,
        parameters.LIMIT,
        parameters.CURSOR,
    ),
    gives=(
        Gives(HTTPStatus.OK, Page[EventDocument], JSON),
        Gives(HTTPStatus.OK, None, EVENT_STREAM),
    ),
)
async def list_events(call: Call) -> web.StreamResponse:
    """Return the log in order, or stream it.

    As `text/event-stream` the ids are positions: it goes on after `Last-Event-ID`, else after
    `after`, else from now on. `next` of a page is what `after` or `cursor` of the next one is.
    """
    wanted = Wanted(
        topic=call.query.get(parameters.TOPIC.name), stream=call.query.get(parameters.STREAM.name)
    )
    if call.media == EVENT_STREAM:
        _refuse_paging(call)
        return await call.request.app[STREAMS].serve(call, wanted)
    limit = call.query.get(parameters.LIMIT.name, DEFAULT_LIMIT)
    events, has_more = await page_after(call.services, _after(call), limit, wanted)
    following = str(events[-1].position) if has_more else None
    shown = await shown_events(call.services, events)
    return answers.document(call.request, Page(shown, following))


def _refuse_paging(call: Call) -> None:
    for name in (parameters.LIMIT.name, parameters.CURSOR.name):
        if name in call.query:
            raise InvalidParameterError(name, "A stream has no pages.")


def _after(call: Call) -> int:
    cursor: str | None = call.query.get(parameters.CURSOR.name)
    if cursor is None:
        after: int = call.query.get(parameters.AFTER.name, 0)
        return after
    position = read_whole(cursor, 0, MAX_POSITION)
    if position is None:
        raise InvalidCursorError
    return position
