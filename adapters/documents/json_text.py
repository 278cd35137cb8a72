"""JSON text to a document: twin keys, NaN and what is deeper than it should be are refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ...domain.language.parsing import Json
from .written import MAX_DEPTH, WrittenDocument, unreadable

MAX_DIGITS = 19
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def read_json(text: str, file: str) -> list[WrittenDocument]:
    """Return the one document of a JSON text; InvalidError with file and, if known, line."""
    _refuse_depth(text, file)
    try:
        fields: Json = json.loads(
            text,
            object_pairs_hook=_fields,
            parse_constant=_no_number,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        raise unreadable(file, error.lineno, f"This is no JSON: {error.msg}.") from None
    except ValueError as error:
        raise unreadable(file, None, str(error)) from None
    if not isinstance(fields, Mapping):
        raise unreadable(file, 1, "A document is an object with fields.")
    return [WrittenDocument(file, {**fields})]


def _refuse_depth(text: str, file: str) -> None:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            line = text.count("\n", 0, found.start()) + 1
            raise unreadable(file, line, f"A document is at most {MAX_DEPTH} levels deep.")


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            message = f"The field {key[:100]} is here twice."
            raise ValueError(message)
        fields[key] = value
    return fields


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        _no_number(digits)
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _no_number(digits)
    return number


def _no_number(digits: str) -> NoReturn:
    message = f"{digits[:20]} is no number that can be kept."
    raise ValueError(message)
