"""Routes of definitions: environments and pipelines, stored, read and listed."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from ...domain import definition, environment
from ...domain.access import Permission
from ...domain.commands import DefineEnvironment, DefinePipeline
from ...domain.definition import Definition
from ...domain.environment import Environment
from ...domain.errors import NotFoundError
from ...domain.language.environment import EnvironmentDocument
from ...domain.language.pipeline import Pipeline
from ...domain.ledger import Receipt
from ...projections import definitions
from ..wire import answers, etag, parameters
from ..wire.documents import Page
from ..wire.endpoint import Call, Gives, Table, page_of, told
from ..wire.shown import Shown
from .standing import settle

routes = Table()
NO_VERSION = -1
"""What no version ever is: a condition that names it fails."""


@routes.put(
    "/v1/environments/{name}",
    needs=Permission.ENVIRONMENT_DEFINE,
    body=EnvironmentDocument,
    gives=(
        Gives(HTTPStatus.OK, EnvironmentDocument, is_change=True),
        Gives(HTTPStatus.CREATED, EnvironmentDocument, is_change=True),
    ),
)
async def define_environment(call: Call) -> web.StreamResponse:
    """Define an environment, or change it.

    The body is the document that `apply` reads; `kind` and `name` may be left out.
    """
    name = call.named["name"]
    before = await call.services.door.streams.load(Environment, environment.stream_of(name))
    return await _define(call, DefineEnvironment(name=name, document=call.document), before)


@routes.get(
    "/v1/environments/{name}",
    needs=Permission.LEDGER_READ,
    gives=(Gives(HTTPStatus.OK, EnvironmentDocument),),
)
async def get_environment(call: Call) -> web.StreamResponse:
    """Return an environment's document."""
    stream = environment.stream_of(call.named["name"])
    found = await call.services.door.streams.load(Environment, stream)
    if not found.defined:
        raise NotFoundError(kind="environment")
    return answers.document(call.request, found.document, tag=etag.of_version(found.defined))


@routes.get(
    "/v1/environments",
    needs=Permission.LEDGER_READ,
    query=(parameters.LIMIT, parameters.CURSOR),
    gives=(Gives(HTTPStatus.OK, Page[definitions.Defined]),),
)
async def list_environments(call: Call) -> web.StreamResponse:
    """List environments by name, each with its document and version."""
    return await _list(call, "environment")


@routes.put(
    "/v1/pipelines/{name}",
    needs=Permission.PIPELINE_DEFINE,
    body=Pipeline,
    gives=(
        Gives(HTTPStatus.OK, Pipeline, is_change=True),
        Gives(HTTPStatus.CREATED, Pipeline, is_change=True),
    ),
)
async def define_pipeline(call: Call) -> web.StreamResponse:
    """Store a new version of a pipeline's definition.

    The body is the document that `apply` reads; `kind` and `name` may be left out. The ETag is the
    version; every version is kept.
    """
    name = call.named["name"]
    before = await call.services.door.streams.load(Definition, definition.stream_of(name))
    return await _define(call, DefinePipeline(name=name, document=call.document), before)


@routes.get(
    "/v1/pipelines/{name}",
    needs=Permission.LEDGER_READ,
    query=(parameters.VERSION,),
    gives=(Gives(HTTPStatus.OK, Pipeline),),
)
async def get_pipeline(call: Call) -> web.StreamResponse:
    """Return a pipeline's document, the newest or of an earlier version."""
    version, document = await _pipeline(call, definition.stream_of(call.named["name"]))
    return answers.document(call.request, document, tag=etag.of_version(version))


@routes.get(
    "/v1/pipelines",
    needs=Permission.LEDGER_READ,
    query=(parameters.LIMIT, parameters.CURSOR),
    gives=(Gives(HTTPStatus.OK, Page[definitions.Defined]),),
)
async def list_pipelines(call: Call) -> web.StreamResponse:
    """List pipelines by name, each with its newest document and version."""
    return await _list(call, "pipeline")


async def _list(call: Call, kind: definitions.Kind) -> web.Response:
    query = partial(definitions.listed, kind=kind, page=page_of(call))
    found = await call.services.follower.views.read(query)
    items = await Shown(call.services.directory, call.services.keyring).definitions(found.items)
    return answers.document(call.request, Page(items, found.next))


async def _define(
    call: Call, command: DefineEnvironment | DefinePipeline, before: Environment | Definition
) -> web.Response:
    """Carry out a definition; answer with the document as it was stored and its version as ETag."""
    command = command.model_copy(update={"if_match": _condition(call, before)})
    receipt = await call.services.door.carry_out(command, call.actor, key=call.key)
    version, document = await _stored(call, receipt) or (_version_of(before), before.document)
    await settle(call.services, receipt.position)
    headers = told(receipt)
    # Of what was written and not of what is there now: a repeat is answered as the first time.
    is_new = version == 1 and receipt.wrote
    if is_new:
        headers[hdrs.LOCATION] = call.request.path
    return answers.document(
        call.request,
        document,
        tag=etag.of_version(version),
        status=HTTPStatus.CREATED if is_new else HTTPStatus.OK,
        headers=headers,
    )


def _condition(call: Call, before: Environment | Definition) -> int | None:
    header = call.request.headers.get(hdrs.IF_MATCH)
    if header is None:
        return None
    version = _version_of(before)
    is_met = version > 0 and etag.is_named(header, etag.of_version(version))
    return version if is_met else NO_VERSION


def _version_of(state: Environment | Definition) -> int:
    return state.defined if isinstance(state, Environment) else state.version


async def _stored(call: Call, receipt: Receipt) -> tuple[int, dict[str, Any]] | None:
    """Return version and document as the receipt's event has them; None where none was written."""
    written = await call.services.log.page(after=receipt.first - 1, limit=1)
    if not written or written[0].header.stream != receipt.stream:
        return None
    event = written[0].event
    if not isinstance(event, Environment.Defined | Definition.Defined):
        return None
    return written[0].header.stream_version, event.document


async def _pipeline(call: Call, stream: str) -> tuple[int, dict[str, Any]]:
    wanted: int | None = call.query.get(parameters.VERSION.name)
    if wanted is None:
        newest = await call.services.door.streams.existing(Definition, stream)
        return newest.version, newest.document
    events = await call.services.log.stream(stream, after=wanted - 1)
    if events and isinstance(event := events[0].event, Definition.Defined):
        return wanted, event.document
    raise NotFoundError(kind="version")
