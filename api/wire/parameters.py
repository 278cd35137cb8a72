"""Query parameters: each says how it is read, and how OpenAPI describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from aiohttp import web

from ...domain.deployment import Status
from .refusals import InvalidParameterError

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
MAX_TEXT = 200
MAX_POSITION = 2**53 - 1

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class Kind:
    """How a value is written: `read` returns None for a text that is none of it."""

    read: Callable[[str], Any]
    sentence: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One query parameter."""

    name: str
    kind: Kind
    meaning: str


def read_query(request: web.Request, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Return what a request's query says; InvalidParameterError for the unknown and the wrong."""
    if not request.query_string:
        return {}
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    found: dict[str, Any] = {}
    for name, text in request.query.items():
        if name not in kinds:
            raise InvalidParameterError(_shown(name), "There is no such parameter here.")
        if name in found:
            raise InvalidParameterError(name, "This parameter is given once.")
        found[name] = kinds[name].read(text)
        if found[name] is None:
            raise InvalidParameterError(name, kinds[name].sentence)
    return found


def read_instant(text: str) -> datetime | None:
    """Return an RFC 3339 instant, or None for another text.

    >>> read_instant("2026-05-01T12:00:00Z").isoformat()
    '2026-05-01T12:00:00+00:00'
    """
    # An unescaped + of an offset arrives as a blank.
    spelled = text.replace(" ", "+")
    try:
        return datetime.fromisoformat(spelled.upper()) if _INSTANT.fullmatch(spelled) else None
    except ValueError:
        return None


def read_whole(text: str, least: int, most: int) -> int | None:
    """Return a whole number of plain digits within bounds, or None.

    >>> read_whole("12", 1, 1000), read_whole("+12", 1, 1000), read_whole("0", 1, 1000)
    (12, None, None)
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    return number if least <= (number := int(text)) <= most else None


def _whole(least: int, most: int) -> Kind:
    return Kind(
        partial(read_whole, least=least, most=most),
        f"This is a whole number from {least} to {most}.",
        {"type": "integer", "minimum": least, "maximum": most},
    )


def _matching(pattern: str, example: str) -> Kind:
    compiled = re.compile(pattern, re.ASCII)
    return Kind(
        lambda text: text if compiled.fullmatch(text) else None,
        f"This is written {example}.",
        {"type": "string", "pattern": f"^{pattern}$"},
    )


def _one_of(kind: type[StrEnum]) -> Kind:
    values = [one.value for one in kind]

    def read(text: str) -> StrEnum | None:
        return kind(text) if text in values else None

    return replace(_among(*values), read=read)


def _among(*values: str) -> Kind:
    return Kind(
        lambda text: text if text in values else None,
        "This is one of " + ", ".join(values) + ".",
        {"type": "string", "enum": list(values)},
    )


def _read_text(text: str) -> str | None:
    return text if 0 < len(text) <= MAX_TEXT and "\0" not in text else None


def _read_as_of(text: str) -> int | datetime | None:
    position = read_whole(text, 0, MAX_POSITION)
    return read_instant(text) if position is None else position


_POSITION = _whole(0, MAX_POSITION)
_COUNT = _whole(1, MAX_POSITION)
_TEXT = Kind(
    _read_text,
    f"This is a text of 1 to {MAX_TEXT} characters without NUL.",
    {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
)
_INSTANT_KIND = Kind(
    read_instant,
    "An instant is written 2026-05-01T12:00:00Z.",
    {"type": "string", "format": "date-time"},
)
_AS_OF = Kind(
    _read_as_of,
    "This is an instant such as 2026-05-01T12:00:00Z, or a position of the log.",
    {"anyOf": [_INSTANT_KIND.schema, _POSITION.schema]},
)
_TRUTH = Kind({"true": True, "false": False}.get, "This is true or false.", {"type": "boolean"})

LIMIT = Parameter("limit", _whole(1, MAX_LIMIT), "How many items a page holds at most.")
CURSOR = Parameter("cursor", _TEXT, "`next` of the page before.")
ENVIRONMENT = Parameter("environment", _TEXT, "Only of this environment.")
SERVICE = Parameter("service", _TEXT, "Only of this service.")
PIPELINE = Parameter("pipeline", _TEXT, "Only of this pipeline.")
ACTOR = Parameter("actor", _TEXT, "Only those this `kind:name` or subject id asked for.")
STATUS = Parameter("status", _one_of(Status), "Only those that stand so.")
SINCE = Parameter("since", _INSTANT_KIND, "Only those requested then or later.")
UNTIL = Parameter("until", _INSTANT_KIND, "Only those requested then or earlier.")
AS_OF = Parameter("as_of", _AS_OF, "As it stood at this instant or position of the log.")
VERSION = Parameter("version", _COUNT, "The stored version; the newest without it.")
VALIDATE_ONLY = Parameter("validate_only", _TRUTH, "Say what would be done, and write nothing.")
ATTEMPT = Parameter("attempt", _COUNT, "What this attempt printed; the newest without it.")
FORMAT = Parameter("format", _among("ndjson", "csv"), "How events are written.")
FROM = Parameter("from", _AS_OF, "From this position on, or from what was recorded then on.")
TO = Parameter("until", _AS_OF, "Up to this position, or to what was recorded then; included.")
HEADER = Parameter(
    "header", _among("present", "absent"), "Whether a CSV begins with the names of its columns."
)
KIND = Parameter(
    "topic",
    _matching("[a-z]+[.][a-z_]*", "deployment.requested, or deployment. for all of its kind"),
    "Only events of this topic.",
)
AFTER = Parameter("after", _POSITION, "Only events above this position.")
TOPIC = Parameter(
    "topic", _matching("[a-z]+[.][a-z_]+", "deployment.requested"), "Only events of this topic."
)
STREAM = Parameter(
    "stream",
    _matching("(deployment|target|environment|pipeline):[a-z0-9/-]{1,200}", "target:staging/web"),
    "Only events of this stream.",
)


def _shown(name: str) -> str:
    return name[:MAX_TEXT].encode("utf-8", "replace").decode()
