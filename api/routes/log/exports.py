"""Routes of exports: the log as a file, and the manifest by which that file is known."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import urlencode

import msgspec
from aiohttp import hdrs, web

from ....domain.access import Permission
from ....projections.exports import (
    FORMATS,
    Made,
    Manifest,
    Name,
    Query,
    Selection,
    Tally,
    manifest_of,
    written,
)
from ...exporting import select, subject_of
from ...wire import answers, etag, parameters
from ...wire.endpoint import LEDGER_POSITION, Call, Gives, Table
from ..standing import position_of
from .downloads import DOWNLOADS

POSITIONS = "Export-Positions"
MANIFEST = "/v1/exports/manifest"

_QUERY = (
    parameters.FORMAT,
    parameters.FROM,
    parameters.TO,
    parameters.ENVIRONMENT,
    parameters.SERVICE,
    parameters.ACTOR,
    parameters.KIND,
    parameters.AS_OF,
)
_OF_MEDIA: dict[str, Name] = {made.MEDIA: name for name, made in FORMATS.items()}

routes = Table()


@routes.get(
    "/v1/exports",
    needs=Permission.LEDGER_EXPORT,
    query=(*_QUERY, parameters.HEADER),
    gives=tuple(Gives(HTTPStatus.OK, None, made.MEDIA) for made in FORMATS.values()),
)
async def export_log(call: Call) -> web.StreamResponse:
    """Return a part of the log as a file, its events as the very bytes that are stored.

    It ends where the log ended when it was asked for, as `Ledger-Position` says, or at `as_of`.
    One that was cut off goes on with the same `as_of`, `from` above the last position received
    and, for CSV, `header=absent`. Its `Link` leads to the manifest of the whole.
    """
    selection = await _selection(call, _OF_MEDIA[call.media])
    has_head = call.query.get(parameters.HEADER.name) != "absent"
    headers = _headers(call, selection, has_head=has_head)
    if etag.is_named(call.request.headers.get(hdrs.IF_NONE_MATCH, ""), headers[hdrs.ETAG]):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    chunks = written(call.services.log, selection, has_head=has_head)
    return await call.request.app[DOWNLOADS].send(call, headers, chunks)


@routes.get(
    MANIFEST,
    needs=Permission.LEDGER_EXPORT,
    query=_QUERY,
    gives=(Gives(HTTPStatus.OK, Manifest),),
)
async def get_export_manifest(call: Call) -> web.StreamResponse:
    """Return what an export holds, and its hash, made anew from the log.

    With the same query and `as_of` it is the same for good, but for when and for whom it was made.
    """
    selection = await _selection(call, "ndjson")
    tally = Tally()
    await call.request.app[DOWNLOADS].make(call, tally.over(written(call.services.log, selection)))
    at, by = call.services.clock.now(), call.actor.subject
    made = Made(at, by, f"shipslog {version('shipslog')}")
    return answers.document(call.request, manifest_of(selection, tally, made))


async def _selection(call: Call, usual: Name) -> Selection:
    asked = call.query
    actor = asked.get(parameters.ACTOR.name)
    query = Query(
        from_=asked.get(parameters.FROM.name),
        until=asked.get(parameters.TO.name),
        environment=asked.get(parameters.ENVIRONMENT.name),
        service=asked.get(parameters.SERVICE.name),
        actor=actor and await subject_of(call.services.directory, actor),
        topic=asked.get(parameters.KIND.name),
    )
    log, as_of = call.services.log, asked.get(parameters.AS_OF.name)
    head = await (log.head() if as_of is None else position_of(call.services, as_of))
    return await select(log, asked.get(parameters.FORMAT.name, usual), query, head)


def _headers(call: Call, selection: Selection, *, has_head: bool) -> dict[str, str]:
    first, last = selection.positions.first, selection.positions.last
    name = f"shipslog-{first}-{last}.{selection.format}"
    media = FORMATS[selection.format].MEDIA
    if selection.format == "csv":
        media += f"; charset=utf-8; header={'present' if has_head else 'absent'}"
    query = {name: text for name, text in call.request.query.items() if name != "header"}
    fixed = urlencode(query | {"format": selection.format, "as_of": str(selection.log.head)})
    return {
        hdrs.CONTENT_TYPE: media,
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
        hdrs.LINK: f'<{MANIFEST}?{fixed}>; rel="describedby"; type="application/json"',
        hdrs.ETAG: etag.of_bytes(msgspec.json.encode([selection, has_head])),
        hdrs.CACHE_CONTROL: "no-cache",
        LEDGER_POSITION: str(selection.log.head),
        POSITIONS: f"{first}-{last}",
    }
