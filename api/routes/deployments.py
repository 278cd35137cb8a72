"""Routes of deployments: ask for one, see how it stands, what happened, what a stage printed."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web
from sqlalchemy import Connection

from ...domain.access import Permission
from ...domain.commands import RequestDeployment
from ...domain.deployment import Deployment, stream_of
from ...domain.errors import NotFoundError
from ...domain.ledger import Receipt
from ...projections import deployments, follower, targets
from ...projections.follower import Slice
from ..exporting import subject_of
from ..ready.statuses import STATUSES
from ..wire import answers, parameters
from ..wire.accept import JSON, TEXT
from ..wire.documents import EventDocument, Page, PreviewDocument, StatusDocument
from ..wire.endpoint import Call, Gives, Table, page_of, told
from ..wire.shown import Shown
from .log.reading import shown_events
from .standing import position_of, settle, status_after, status_at

routes = Table()
ACCEPTED = Gives(HTTPStatus.ACCEPTED, StatusDocument, is_change=True)
_FILTERS = (
    parameters.ENVIRONMENT,
    parameters.SERVICE,
    parameters.PIPELINE,
    parameters.STATUS,
    parameters.ACTOR,
    parameters.SINCE,
    parameters.UNTIL,
)


@routes.post(
    "/v1/deployments",
    needs=Permission.DEPLOYMENT_REQUEST,
    query=(parameters.VALIDATE_ONLY,),
    body=RequestDeployment,
    gives=(ACCEPTED, Gives(HTTPStatus.OK, PreviewDocument)),
)
async def request_deployment(call: Call) -> web.StreamResponse:
    """Deploy a version of a pipeline's service to an environment.

    With `validate_only=true` the answer is the plan and what would hold it; nothing is written.
    """
    command = call.body(RequestDeployment)
    if call.query.get(parameters.VALIDATE_ONLY.name):
        preview = await call.services.door.preview(command, call.actor)
        return answers.document(call.request, preview)
    receipt = await call.services.door.carry_out(command, call.actor, key=call.key)
    return await accepted(call, receipt)


@routes.get(
    "/v1/deployments",
    needs=Permission.LEDGER_READ,
    query=(*_FILTERS, parameters.LIMIT, parameters.CURSOR),
    gives=(Gives(HTTPStatus.OK, Page[StatusDocument]),),
)
async def list_deployments(call: Call) -> web.StreamResponse:
    """List deployments, newest first."""
    names = {parameter.name for parameter in _FILTERS}
    asked = {name: value for name, value in call.query.items() if name in names}
    if "actor" in asked:
        asked["actor"] = await subject_of(call.services.directory, asked["actor"])
    query = partial(_listed, filters=deployments.Filters(**asked), page=page_of(call))
    found, places = await call.services.follower.views.read(query)
    shown = Shown(call.services.directory, call.services.keyring)
    items = await shown.statuses(zip(found.items, places, strict=True))
    return answers.document(call.request, Page(items, found.next))


@routes.get(
    "/v1/deployments/{id}",
    needs=Permission.LEDGER_READ,
    query=(parameters.AS_OF,),
    gives=(Gives(HTTPStatus.OK, StatusDocument),),
)
async def get_deployment(call: Call) -> web.StreamResponse:
    """Return how a deployment stands, or stood."""
    name = call.named["id"]
    if (as_of := call.query.get(parameters.AS_OF.name)) is not None:
        position = await position_of(call.services, as_of)
        return answers.document(call.request, await status_at(call.services, name, position))
    status = await call.request.app[STATUSES].get(name)
    headers = {"Content-Type": JSON}
    return answers.of_bytes(call.request, status.body, tag=status.tag, headers=headers)


@routes.get(
    "/v1/deployments/{id}/events",
    needs=Permission.LEDGER_READ,
    gives=(Gives(HTTPStatus.OK, Page[EventDocument]),),
)
async def list_deployment_events(call: Call) -> web.StreamResponse:
    """Return a deployment's whole history, in order."""
    events = await call.services.log.stream(stream_of(call.named["id"]))
    if not events:
        raise NotFoundError(kind="deployment")
    shown = await shown_events(call.services, events)
    return answers.document(call.request, Page(shown, None))


@routes.get(
    "/v1/deployments/{id}/stages/{name}/output",
    needs=Permission.LEDGER_READ,
    query=(parameters.ATTEMPT,),
    gives=(Gives(HTTPStatus.OK, None, TEXT),),
)
async def get_stage_output(call: Call) -> web.StreamResponse:
    """Return what a stage's newest finished attempt printed, or another one; maybe nothing."""
    finished = await _finished(call)
    digest = finished.output
    content = await call.services.blobs.get(digest) if digest else b""
    if content is None:
        raise NotFoundError(kind="output")
    headers = {"Content-Type": f"{TEXT}; charset=utf-8"}
    return answers.of_bytes(call.request, content, tag=f'"{digest}"', headers=headers)


async def accepted(call: Call, receipt: Receipt) -> web.Response:
    """Answer a command with the status as of its own position, now and whenever repeated."""
    services, deployment = call.services, receipt.stream.partition(":")[2]
    await settle(services, receipt.position)
    document = await status_after(services, receipt)
    headers = told(receipt) | {hdrs.LOCATION: f"/v1/deployments/{deployment}"}
    return answers.document(call.request, document, status=HTTPStatus.ACCEPTED, headers=headers)


def _listed(
    db: Connection, filters: deployments.Filters, page: follower.Page
) -> tuple[Slice[deployments.StatusDocument], list[targets.Place | None]]:
    """Return a page of deployments, and for each what runs at its target."""
    found = deployments.listed(db, filters, page)
    names = [(one.environment, one.service) for one in found.items]
    places = {name: targets.get(db, *name) for name in set(names)}
    return found, [places[name] for name in names]


async def _finished(call: Call) -> Deployment.StageFinished:
    """Return the end that is asked for; NotFoundError where no attempt has ended yet."""
    events = await call.services.log.stream(stream_of(call.named["id"]))
    wanted = call.query.get(parameters.ATTEMPT.name)
    ended = [
        event
        for recorded in events
        if isinstance(event := recorded.event, Deployment.StageFinished)
        and event.stage == call.named["name"]
        and wanted in {None, event.attempt}
    ]
    if not ended:
        raise NotFoundError(kind="output")
    return ended[-1]
