"""Canonical JSON (RFC 8785): the one spelling of a document that is hashed.

The library is exact and slow. What our documents consist of is written here in a fraction of the
time; whatever else there may be is left to the library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import cast

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


def joined(fields: Mapping[str, bytes]) -> bytes:
    """Return the canonical JSON of an object whose values are spelled already, its keys in ASCII.

    >>> joined({"b": dumps(1.0), "a": dumps(None)}).decode()
    '{"a":null,"b":1}'
    """
    return b"{%b}" % b",".join([b'"%b":%b' % (key.encode(), fields[key]) for key in sorted(fields)])


class _UnusualError(Exception):
    """This is better left to the library."""


def _text(value: Value) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(cast("str", value))
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return _number(cast("float", value))
    if isinstance(value, Mapping):
        return _object(cast("Mapping[object, Value]", value))
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(one) for one in cast("Sequence[Value]", value)]) + "]"
    raise _UnusualError


def _object(fields: Mapping[object, Value]) -> str:
    # Keys are in the order of UTF-16, which of ASCII is the usual one.
    if not all(type(key) is str and key.isascii() for key in fields):
        raise _UnusualError
    keys = sorted(cast("Mapping[str, Value]", fields))
    return "{" + ",".join([f"{encode_basestring(key)}:{_text(fields[key])}" for key in keys]) + "}"


def _number(value: float) -> str:
    if -_EXACT < value < _EXACT and value == (whole := int(value)):
        return str(whole)
    raise _UnusualError
