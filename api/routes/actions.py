"""Routes of what a person may do with a deployment: abort it, roll it back, retry it, and so on."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict

from ...domain.access import Permission
from ...domain.commands import AbortDeployment, Reason, RetryDeployment, RollbackDeployment
from ...domain.deployment import Deployment, stream_of
from ...domain.errors import NotAvailableError, PreconditionFailedError, StateConflictError
from ...domain.handlers import legal_actions
from ..ready.statuses import STATUSES
from ..wire import etag
from ..wire.documents import StatusDocument
from ..wire.endpoint import Call, Gives, Table
from .deployments import accepted

routes = Table()
_ACCEPTED = (Gives(HTTPStatus.ACCEPTED, StatusDocument, is_change=True),)


class Wish(BaseModel):
    """What somebody says about what they do."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    reason: Reason | None = None


class Approval(Wish):
    """An approval, of exactly this plan."""

    plan_hash: str | None = None


@routes.post(
    "/v1/deployments/{id}/abort",
    needs=Permission.DEPLOYMENT_ABORT,
    body=Wish,
    gives=_ACCEPTED,
)
async def abort_deployment(call: Call) -> web.StreamResponse:
    """End a deployment; what it did is undone."""
    return await _carry_out(call, AbortDeployment)


@routes.post(
    "/v1/deployments/{id}/rollback",
    needs=Permission.DEPLOYMENT_ROLLBACK,
    body=Wish,
    gives=_ACCEPTED,
)
async def rollback_deployment(call: Call) -> web.StreamResponse:
    """Undo a running deployment, or bring back what was healthy before a finished one.

    Of a finished one the answer is the new deployment, linked by `rollback_of`.
    """
    return await _carry_out(call, RollbackDeployment)


@routes.post(
    "/v1/deployments/{id}/retry",
    needs=Permission.DEPLOYMENT_RETRY,
    body=Wish,
    gives=_ACCEPTED,
)
async def retry_deployment(call: Call) -> web.StreamResponse:
    """Try again what needs an operator; a finished one as a new one linked by `retry_of`."""
    return await _carry_out(call, RetryDeployment)


@routes.post(
    "/v1/deployments/{id}/approve",
    needs=Permission.LEDGER_READ,
    body=Approval,
    gives=_ACCEPTED,
)
async def approve_deployment(call: Call) -> web.StreamResponse:
    """Approve a deployment's plan; no deployment of this build ever waits for that."""
    call.body(Approval)
    raise await _never(call, "be approved")


@routes.post(
    "/v1/deployments/{id}/reject",
    needs=Permission.LEDGER_READ,
    body=Wish,
    gives=_ACCEPTED,
)
async def reject_deployment(call: Call) -> web.StreamResponse:
    """Reject a deployment that waits for approval; none of this build ever does."""
    call.body(Wish)
    raise await _never(call, "be rejected")


@routes.post(
    "/v1/deployments/{id}/pause",
    needs=Permission.DEPLOYMENT_ABORT,
    body=Wish,
    gives=_ACCEPTED,
)
async def pause_deployment(call: Call) -> web.StreamResponse:
    """Hold a deployment before its next stage; this build cannot yet."""
    call.body(Wish)
    await _known(call)
    raise NotAvailableError(feature="pause")


@routes.post(
    "/v1/deployments/{id}/resume",
    needs=Permission.DEPLOYMENT_ABORT,
    body=Wish,
    gives=_ACCEPTED,
)
async def resume_deployment(call: Call) -> web.StreamResponse:
    """Let a paused deployment go on; none of this build is ever paused."""
    call.body(Wish)
    raise await _never(call, "be resumed")


@routes.post(
    "/v1/deployments/{id}/promote",
    needs=Permission.DEPLOYMENT_ABORT,
    body=Wish,
    gives=_ACCEPTED,
)
async def promote_deployment(call: Call) -> web.StreamResponse:
    """Move a canary on; there is none in this build."""
    call.body(Wish)
    raise await _never(call, "be promoted")


@routes.post(
    "/v1/deployments/{id}/skip",
    needs=Permission.DEPLOYMENT_ABORT,
    body=Wish,
    gives=_ACCEPTED,
)
async def skip_stage(call: Call) -> web.StreamResponse:
    """Skip a stage that may be skipped; there is none in this build."""
    call.body(Wish)
    raise await _never(call, "skip a stage")


async def _carry_out(
    call: Call, kind: type[AbortDeployment | RollbackDeployment | RetryDeployment]
) -> web.Response:
    wish = call.body(Wish)
    await _check_unmoved(call)
    command = kind(deployment=call.named["id"], reason=wish.reason)
    return await accepted(
        call, await call.services.door.carry_out(command, call.actor, key=call.key)
    )


async def _check_unmoved(call: Call) -> None:
    """Raise PreconditionFailedError where an If-Match names another status document."""
    header = call.request.headers.get(hdrs.IF_MATCH)
    if header is None:
        return
    tag = (await call.request.app[STATUSES].get(call.named["id"])).tag
    if not etag.is_named(header, tag):
        raise PreconditionFailedError(etag=tag)


async def _known(call: Call) -> Deployment:
    return await call.services.door.streams.existing(Deployment, stream_of(call.named["id"]))


async def _never(call: Call, action: str) -> StateConflictError:
    deployment = await _known(call)
    return StateConflictError(
        status=deployment.status.value, action=action, legal_actions=legal_actions(deployment)
    )
