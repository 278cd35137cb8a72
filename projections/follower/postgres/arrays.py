"""Arrays as PostgreSQL reads them: the driver's own way costs more than all else in a batch."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, LiteralString

from psycopg import BaseConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Boolean, Column, Integer

_HEADER = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_WHOLE = struct.Struct("!iq")
_FLAG = struct.Struct("!ib")
_NULL = _LENGTH.pack(-1)
_BOOL, _INT8, _TEXT = 16, 20, 25


class _Array(bytes):
    __slots__ = ()


class Flags(_Array):
    """`boolean[]`."""

    __slots__ = ()


class Wholes(_Array):
    """`bigint[]`."""

    __slots__ = ()


class Texts(_Array):
    """`text[]`."""

    __slots__ = ()


def array(column: Column[Any], values: Sequence[Any]) -> Flags | Wholes | Texts:
    """Return one column's values, None for null. Errors: struct.error beyond 64 bits."""
    if isinstance(column.type, Boolean):
        return Flags(_packed(_BOOL, values, lambda value: _FLAG.pack(1, value)))
    if isinstance(column.type, Integer):
        return Wholes(_packed(_INT8, values, lambda value: _WHOLE.pack(8, value)))
    return Texts(_packed(_TEXT, values, _text))


def type_name(column: Column[Any]) -> LiteralString:
    """Return the name of the type of a column's array."""
    if isinstance(column.type, Boolean):
        return "boolean[]"
    return "bigint[]" if isinstance(column.type, Integer) else "text[]"


def register(connection: BaseConnection[Any]) -> None:
    """Teach a connection to send these."""
    for kind, dumper in ((Flags, _FlagsDumper), (Wholes, _WholesDumper), (Texts, _TextsDumper)):
        connection.adapters.register_dumper(kind, dumper)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _packed(element: int, values: Sequence[Any], pack: Callable[[Any], bytes]) -> bytes:
    header = _HEADER.pack(1, 1, element, len(values), 1)
    return header + b"".join([_NULL if value is None else pack(value) for value in values])


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


class _FlagsDumper(_AsItIs):
    oid = 1000


class _WholesDumper(_AsItIs):
    oid = 1016


class _TextsDumper(_AsItIs):
    oid = 1009
