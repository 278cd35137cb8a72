"""Refusals that only HTTP knows: bodies, headers and rates that never become a command."""

from __future__ import annotations

from ...domain.errors import InvalidError, RefusedError


class MalformedRequestError(RefusedError):
    """The request cannot be read."""

    slug = "malformed-request"


class MalformedJsonError(MalformedRequestError):
    """The body is no JSON object: {detail}."""

    slug = "malformed-json"


class MalformedHeaderError(MalformedRequestError):
    """The header {header} cannot be read."""

    slug = "malformed-header"


class MalformedCursorError(MalformedRequestError):
    """This cursor was not given by the list it is used on."""

    slug = "malformed-cursor"


class BodyTooLargeError(RefusedError):
    """A body has at most {limit} bytes."""

    slug = "too-large"


class UnsupportedMediaError(RefusedError):
    """The body must be {expected}."""

    slug = "unsupported-media-type"


class NotAcceptableError(RefusedError):
    """This answers with {offers}."""

    slug = "not-acceptable"


class BodyTimeoutError(RefusedError):
    """The body did not arrive within {seconds} seconds."""

    slug = "timeout"


class RateLimitedError(RefusedError):
    """Too many requests; wait {retry_after} seconds."""

    slug = "rate-limited"


class InvalidParameterError(InvalidError):
    """A query parameter is not valid."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail, errors=[{"parameter": name, "detail": detail}])
