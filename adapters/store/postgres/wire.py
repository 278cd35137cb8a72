"""Arrays as PostgreSQL reads them: the driver's own way costs more than all else in an append."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from psycopg import BaseConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct("!iiIii")
_EMPTY = struct.Struct("!iiI")
_LENGTH = struct.Struct("!i")
_INTERVAL = struct.Struct("!qii")
_INT8_VALUE = struct.Struct("!q")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BYTEA, _INT8, _TEXT, _TIMESTAMPTZ = 17, 20, 25, 1184
_NO_INTS = _EMPTY.pack(0, 0, _INT8)
_ONE_INT = struct.Struct("!iiIiiiq")


class Wire(bytes):
    """A value as it goes to the server."""

    __slots__ = ()


class Int8(Wire):
    """`bigint[]`."""

    __slots__ = ()


class Text(Wire):
    """`text[]`."""

    __slots__ = ()


def bytes_array(items: Sequence[bytes]) -> bytes:
    """Return a `bytea[]`."""
    return _array(_BYTEA, items)


def hex_array(items: Collection[str]) -> bytes:
    r"""Return a `bytea[]` of what is written in hex. Errors: ValueError for what is not.

    >>> hex_array(["00ff", "abcd"]) == bytes_array([b"\0\xff", b"\xab\xcd"])
    True
    >>> hex_array(["ab", "abcd"]) == bytes_array([b"\xab", b"\xab\xcd"])
    True
    >>> hex_array(["ab  ", "abcd"])
    Traceback (most recent call last):
    ValueError: a space is no digit
    """
    digits = set(map(len, items))
    if len(digits) != 1 or (length := digits.pop()) % 2:
        return _array(_BYTEA, [bytes.fromhex(item) for item in items])
    # Hashes are of one length: they are read together, each with that before it.
    before = f"{length // 2:08x}"
    read = bytes.fromhex(before + before.join(items))
    if len(read) != len(items) * (4 + length // 2):
        message = "a space is no digit"
        raise ValueError(message)
    return _HEADER.pack(1, 0, _BYTEA, len(items), 1) + read


def text_array(items: Iterable[str]) -> Text:
    """Return a `text[]`. Errors: UnicodeEncodeError for a lone surrogate."""
    return Text(_array(_TEXT, [item.encode() for item in items]))


def int_array(items: Collection[int]) -> Int8:
    """Return a `bigint[]`. Errors: struct.error beyond 64 bits."""
    if not items:
        return Int8(_NO_INTS)
    if len(items) == 1:
        return Int8(_ONE_INT.pack(1, 0, _INT8, 1, 1, 8, *items))
    numbers = [part for item in items for part in (8, item)]
    header = _HEADER.pack(1, 0, _INT8, len(items), 1)
    return Int8(header + struct.pack("!" + "iq" * len(items), *numbers))


def timestamp_array(items: Iterable[datetime]) -> bytes:
    """Return a `timestamptz[]`."""
    return _array(_TIMESTAMPTZ, [timestamp(item) for item in items])


def int8(number: int) -> bytes:
    """Return a `bigint`. Errors: struct.error beyond 64 bits."""
    return _INT8_VALUE.pack(number)


def int4(number: int) -> bytes:
    """Return an `integer`. Errors: struct.error beyond 32 bits."""
    return _LENGTH.pack(number)


def register(connection: BaseConnection[object]) -> None:
    """Teach a connection to send these."""
    for kind, dumper in ((Int8, _Int8Dumper), (Text, _TextDumper)):
        connection.adapters.register_dumper(kind, dumper)


def timestamp(at: datetime) -> bytes:
    """Return a `timestamptz`."""
    return _INT8_VALUE.pack((at - _EPOCH) // _MICROSECOND)


def interval(length: timedelta) -> bytes:
    """Return an `interval`."""
    return _INTERVAL.pack(length // _MICROSECOND, 0, 0)


def read_timestamp(value: bytes) -> datetime:
    """Read a `timestamptz`."""
    return _EPOCH + read_int(value) * _MICROSECOND


def read_int(value: bytes) -> int:
    """Read a `bigint`."""
    number: int = _INT8_VALUE.unpack(value)[0]
    return number


def _array(element: int, items: Sequence[bytes]) -> bytes:
    if not items:
        return _EMPTY.pack(0, 0, element)
    parts = [_HEADER.pack(1, 0, element, len(items), 1)]
    for item in items:
        parts.append(_LENGTH.pack(len(item)))
        parts.append(item)
    return b"".join(parts)


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


class _Int8Dumper(_AsItIs):
    oid = 1016


class _TextDumper(_AsItIs):
    oid = 1009
