"""Problems: every refusal and failure as an RFC 9457 document; the only place with status codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

import msgspec
from aiohttp import hdrs, web

from ..domain import errors
from .wire import refusals
from .wire.accept import PROBLEM

Context = Any
"""Whatever an error was given to say more."""

URN = "urn:shipslog:problem:"
MAX_ECHO = 200
"""How many characters of a text that may be the caller's are sent back."""

STATUSES: dict[type[errors.LedgerError], HTTPStatus] = {
    refusals.MalformedRequestError: HTTPStatus.BAD_REQUEST,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.DeniedError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    refusals.NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    refusals.BodyTimeoutError: HTTPStatus.REQUEST_TIMEOUT,
    errors.StateConflictError: HTTPStatus.CONFLICT,
    errors.AddressTakenError: HTTPStatus.CONFLICT,
    errors.PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    refusals.BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.EventTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    refusals.UnsupportedMediaError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidCursorError: HTTPStatus.BAD_REQUEST,
    errors.InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PreconditionRequiredError: HTTPStatus.PRECONDITION_REQUIRED,
    errors.LimitReachedError: HTTPStatus.TOO_MANY_REQUESTS,
    refusals.RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotYetVisibleError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.RetryableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EndingError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LedgerError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""An error has the status of the nearest class above it."""

_SLUGS = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
}
_RETRY_AFTER = {
    HTTPStatus.TOO_MANY_REQUESTS: 60,
    HTTPStatus.SERVICE_UNAVAILABLE: 1,
    HTTPStatus.GATEWAY_TIMEOUT: 1,
}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def status_of(error: errors.LedgerError) -> HTTPStatus:
    """Return the status code of an error."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def new_instance() -> str:
    """Return a name for one occurrence of a problem, by which the log is searched."""
    return f"urn:uuid:{uuid4()}"


def of_error(error: errors.LedgerError, instance: str) -> web.Response:
    """Return the answer to a request that was refused or failed."""
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return of_fault(instance)
    context = {key: value for key, value in error.context.items() if key != "pointer"}
    if isinstance(error, errors.InvalidError) and "errors" not in context:
        context["errors"] = [{"pointer": error.pointer, "detail": str(error)}]
    slug = "too-large" if isinstance(error, errors.EventTooLargeError) else error.slug
    return _problem(status, slug, str(error), instance, context)


def of_http(error: web.HTTPException, instance: str) -> web.Response:
    """Return the answer to a request that aiohttp itself refused, `Allow` kept."""
    status = HTTPStatus(error.status)
    slug = _SLUGS.get(status, status.phrase.lower().replace(" ", "-"))
    answer = _problem(status, slug, f"{status.description or status.phrase}.", instance, {})
    if allow := error.headers.get(hdrs.ALLOW):
        answer.headers[hdrs.ALLOW] = allow
    return answer


def of_fault(instance: str) -> web.Response:
    """Return the answer to a request that met a fault of ours; what it was stands in the log."""
    detail = "Something went wrong here; the log has it under this instance."
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail, instance, {})


def _problem(
    status: HTTPStatus, slug: str, detail: str, instance: str, context: dict[str, Any]
) -> web.Response:
    document = {
        "type": URN + slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": status.value,
        "detail": _clipped(detail),
        "instance": instance,
    }
    # What an error calls status is the deployment's, and has another name beside the answer's.
    more = {"state" if key == "status" else key: value for key, value in context.items()}
    document |= {key: value for key, value in _clipped(more).items() if key not in document}
    headers = {hdrs.CONTENT_TYPE: PROBLEM, hdrs.CACHE_CONTROL: "no-store"}
    if status in _RETRY_AFTER:
        headers[hdrs.RETRY_AFTER] = str(context.get("retry_after", _RETRY_AFTER[status]))
    if status is HTTPStatus.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="shipslog"'
    return web.Response(status=status, body=_ENCODER.encode(document), headers=headers)


def _clipped(value: Context) -> Context:
    if isinstance(value, str):
        # A lone surrogate of the caller's cannot be sent back.
        text = value.encode("utf-8", "replace").decode()
        return text if len(text) <= MAX_ECHO else text[: MAX_ECHO - 1] + "…"
    if isinstance(value, dict):
        fields = cast("Mapping[Context, Context]", value)
        return {_clipped(key): _clipped(inner) for key, inner in fields.items()}
    if isinstance(value, list | tuple):
        return [_clipped(inner) for inner in cast("Sequence[Context]", value)]
    return value
