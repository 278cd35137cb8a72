"""The value types of users' files: names, texts, durations, shares, addresses; refusals of them.

Values stay what a person writes, in one spelling (`120s` becomes `2m`), so that a document can be
read, stored, hashed and applied again. What a refusal's slug means stands in `parsing.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Annotated, LiteralString, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    PlainValidator,
    Strict,
)
from pydantic_core import PydanticCustomError

from .parsing import Json

MAX_TEXT = 32 * 1024
BASIS_POINTS = 10_000
MAX_PORT = 65_535

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_HTTP_PATH = re.compile(r"/[!-~]{0,2047}")


def refuse(sentence: str, slug: LiteralString = "invalid", at: str = "") -> NoReturn:
    """Refuse the value under validation; `at` points from it to the part that is wrong."""
    # The sentence is context, not template: pydantic fills in a template's braces.
    raise PydanticCustomError(slug, "{sentence}", {"sentence": sentence, "at": at})


def is_name(text: str) -> bool:
    """Say whether a text may name something.

    >>> is_name("web-2"), is_name("-rf"), is_name("Web")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def seconds(duration: str) -> float:
    """Return a duration in seconds; ValueError for a text that is none.

    >>> seconds("500ms"), seconds("2h")
    (0.5, 7200.0)
    """
    value = _milliseconds(duration)
    if value is None:
        raise ValueError(duration)
    return value / 1000


def basis_points(share: str | int) -> int:
    """Return a share, a percent text or basis points already, in basis points; else ValueError.

    >>> basis_points("5%"), basis_points("0.25%"), basis_points(500)
    (500, 25, 500)
    """
    if isinstance(share, str):
        written = _PERCENT.fullmatch(share)
        if written is None:
            raise ValueError(share)
        share = int(written[1]) * 100 + int((written[2] or "").ljust(2, "0"))
    if isinstance(share, bool) or not 0 <= share <= BASIS_POINTS:
        raise ValueError(share)
    return share


def between(shortest: str, longest: str) -> AfterValidator:
    """Return the validator of a duration that has bounds, both allowed."""
    least, most = seconds(shortest), seconds(longest)

    def check(text: str) -> str:
        value = _milliseconds(text)
        if value is None:
            refuse("A duration is written 500ms, 90s, 5m or 2h.")
        if not least <= value / 1000 <= most:
            refuse(f"This lasts from {shortest} to {longest}.")
        return _spelled(value)

    return AfterValidator(check)


def unbuilt(feature: str, *values: str) -> BeforeValidator:
    """Return the validator that refuses values of a feature this build does not have yet."""

    def check(value: object) -> object:
        if isinstance(value, str) and value in values:
            refuse(f"This build does not have the {feature} {value} yet.", "not-available")
        return value

    return BeforeValidator(check)


def only_empty(feature: str) -> BeforeValidator:
    """Return the validator of a list that stays empty until its feature is built."""

    def check(value: Json) -> Json:
        if isinstance(value, list | tuple) and value:
            refuse(f"This build does not have {feature} yet.", "not-available")
        return value

    return BeforeValidator(check)


def told_apart_by(*keys: str) -> Discriminator:
    """Return the discriminator of a union of models that each have one key of their own.

    Members are tagged `$key`; a pointer to a fault leaves out what begins so.
    """

    def tag(value: Json | BaseModel) -> str | None:
        fields: Collection[str] = ()
        if isinstance(value, Mapping):
            fields = value.keys()
        elif isinstance(value, BaseModel):
            fields = type(value).model_fields
        found = [key for key in keys if key in fields]
        return f"${found[0]}" if len(found) == 1 else None

    message = f"This has exactly one of {', '.join(keys)}."
    return Discriminator(tag, custom_error_type="invalid", custom_error_message=message)


def _milliseconds(duration: str) -> int | None:
    written = _DURATION.fullmatch(duration)
    return int(written[1]) * _MILLISECONDS[written[2]] if written else None


def _spelled(milliseconds: int) -> str:
    if milliseconds == 0:
        return "0s"
    unit, length = next(u for u in _MILLISECONDS.items() if milliseconds % u[1] == 0)
    return f"{milliseconds // length}{unit}"


def _name(text: str) -> str:
    if not is_name(text):
        refuse("A name is 1 to 63 of a-z, 0-9 and -, the first of them no -.")
    return text


def _text(text: str) -> str:
    if "\0" in text:
        refuse("A text holds no NUL.")
    if len(text) > MAX_TEXT:
        refuse(f"A text has at most {MAX_TEXT} characters.")
    return text


def _share(value: object) -> int:
    try:
        if isinstance(value, str | int):
            return basis_points(value)
    except ValueError:
        pass
    refuse("A share is a percent text such as 5%, or whole basis points from 0 to 10000.")


def _folder(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or ":" in path:
        refuse("A folder is an absolute path without .. and without a colon.")
    return path


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    is_port = _PORT.fullmatch(port) and int(port) <= MAX_PORT
    if not is_port or not (_HOST.fullmatch(host) or _is_ipv6(host)):
        refuse("An address is host:port, such as 127.0.0.1:8100.")
    return text


def _is_ipv6(host: str) -> bool:
    try:
        return host[:1] + host[-1:] == "[]" and bool(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        return False


def _http_path(text: str) -> str:
    if not _HTTP_PATH.fullmatch(text):
        refuse("A path begins with / and is of at most 2048 visible ASCII characters.")
    return text


Name = Annotated[str, Strict(), AfterValidator(_name)]
Text = Annotated[str, Strict(), AfterValidator(_text)]
Folder = Annotated[Text, AfterValidator(_folder)]
Address = Annotated[Text, AfterValidator(_address)]
HttpPath = Annotated[Text, AfterValidator(_http_path)]
Duration = Annotated[str, Strict()]
"""A duration's text; each field says what it lies `between`."""
Share = Annotated[str | int, PlainValidator(_share, json_schema_input_type=str | int)]
"""A percent text or basis points; basis points once validated."""
