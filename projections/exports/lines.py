"""Lines: what every format makes its lines of, and what is found in them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from ...domain.errors import CorruptLogError, InvalidError
from ...domain.event import Instant
from ...domain.ports import Stretch
from .choosing import Facts

CHUNK_EVENTS = 256
"""About 256 KiB of events of the usual size."""
MAX_LINE = 1024 * 1024
"""No line of an export is longer: a header and a payload, each character escaped."""


class MalformedLineError(InvalidError):
    """Line {number} is none of an export: {detail}."""


class Chunk(NamedTuple):
    """Lines of a few events that follow each other."""

    content: bytes
    last: int
    """The position of the last of the events, whether or not it has a line."""
    matched: int
    """How many of the events match the filter."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What one line says."""

    position: int
    facts: Facts
    recorded_at: Instant
    payload: str | None
    payload_sha256: str


def texts(stretch: Stretch) -> list[str]:
    """Return header and payload of each event, in order. Errors: CorruptLogError."""
    try:
        lines = stretch.lines.decode().split("\n")
    except UnicodeDecodeError as error:
        raise CorruptLogError(position=stretch.first, detail=str(error)) from error
    if len(lines) != 2 * stretch.count:
        detail = f"one of {stretch.count} events is not two lines"
        raise CorruptLogError(position=stretch.first, detail=detail)
    return lines


def numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number. Errors: MalformedLineError for one without an end."""
    number = 0
    while line := lines.readline(MAX_LINE):
        number += 1
        if not line.endswith(b"\n"):
            raise MalformedLineError(number=number, detail="it has no end")
        yield number, line
