"""Answers: documents as bytes with a strong ETag, and the conditions that requests put on it."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import hdrs, web

from ...domain.errors import PreconditionFailedError
from . import etag
from .accept import JSON

_ENCODE = msgspec.json.Encoder().encode


def document(
    request: web.Request,
    content: Any,  # noqa: ANN401 - whatever JSON can say
    *,
    tag: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Return a JSON answer; 304 where the client has it already."""
    body = _ENCODE(content)
    return of_bytes(
        request, body, tag=tag, status=status, headers={hdrs.CONTENT_TYPE: JSON} | (headers or {})
    )


def of_bytes(
    request: web.Request,
    body: bytes,
    *,
    headers: dict[str, str],
    tag: str | None = None,
    status: int = 200,
) -> web.Response:
    """Return an answer of these bytes; its tag is the hash of them unless given.

    Errors: PreconditionFailedError for a read whose If-Match names another tag.
    """
    tag = tag or etag.of_bytes(body)
    headers[hdrs.ETAG] = tag
    headers[hdrs.CACHE_CONTROL] = "no-cache"
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:
        conditions = request.headers
        if hdrs.IF_MATCH in conditions and not etag.is_named(conditions[hdrs.IF_MATCH], tag):
            raise PreconditionFailedError(etag=tag)
        none_match = conditions.get(hdrs.IF_NONE_MATCH)
        if none_match and etag.is_named(none_match, tag, weakly=True):
            del headers[hdrs.CONTENT_TYPE]
            return web.Response(status=304, headers=headers)
    return web.Response(status=status, body=body, headers=headers)
