"""JSON as it arrives: UTF-8 without a mark, no twin keys, numbers and depth bounded.

What Python's parser would let pass (`NaN`, the last of two equal keys, `1e400` as infinity) is
refused, because two readers of the same bytes must not see two different requests.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, cast

from .refusals import MalformedJsonError

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
"""Above it not every JSON reader sees the same number (RFC 8259, section 6)."""
_MAX_DIGITS = 17


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds; MalformedJsonError for anything else.

    >>> read_object(b'{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    value = _read(body)
    if not isinstance(value, dict):
        raise MalformedJsonError(detail="it holds another value")
    found = cast("dict[str, Any]", value)
    _check_depth(found)
    return found


def _read(body: bytes) -> object:
    try:
        # A byte order mark is no JSON, and json refuses it in a text by itself.
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise MalformedJsonError(detail="it is not UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise MalformedJsonError(detail=f"{error.msg} at character {error.pos}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedJsonError(detail="a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedJsonError(detail=f"{name} is no JSON number")


def _bounded_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or abs(number := int(digits)) > MAX_INTEGER:
        raise MalformedJsonError(detail="a number is too large")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedJsonError(detail="a number is too large")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_twins,
    parse_constant=_no_constant,
    parse_int=_bounded_integer,
    parse_float=_finite,
)


def _check_depth(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    raise _too_deep()


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return [one for one in inner if isinstance(one, dict | list)]


def _too_deep() -> MalformedJsonError:
    return MalformedJsonError(detail=f"it is nested deeper than {MAX_DEPTH}")
