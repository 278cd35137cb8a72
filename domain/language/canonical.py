"""Canonical JSON (RFC 8785): the one spelling of a document that is hashed.

The library is exact and slow. What our documents consist of is written here in a fraction of the
time; whatever else there may be is left to the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring

import rfc8785

Value = object
"""Whatever JSON can say."""
_EXACT = 2**53
"""Up to here a whole number is the same as an integer and as a float (section 3.2.2.3)."""


def dumps(value: Value) -> bytes:
    """Return a value's canonical JSON. Errors: those of `rfc8785.dumps`.

    >>> dumps({"b": 1.0, "a": [True, None, "é"]}).decode()
    '{"a":[true,null,"é"],"b":1}'
    """
    try:
        return _text(value).encode()
    except (_UnusualError, UnicodeEncodeError):
        return rfc8785.dumps(value)  # type: ignore[arg-type] # it says itself what it refuses


class _UnusualError(Exception):
    """This is better left to the library."""


def _text(value: Value) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)  # type: ignore[arg-type]
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return _number(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        if not all(type(key) is str and key.isascii() for key in value):
            raise _UnusualError  # keys are in the order of UTF-16
        inner = [f"{encode_basestring(key)}:{_text(value[key])}" for key in sorted(value)]
        return "{" + ",".join(inner) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(one) for one in value]) + "]"  # type: ignore[attr-defined]
    raise _UnusualError


def _number(value: float) -> str:
    if -_EXACT < value < _EXACT and value == (whole := int(value)):
        return str(whole)
    raise _UnusualError
