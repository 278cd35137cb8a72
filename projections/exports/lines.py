"""Lines: what every format makes its lines of, and what is found in them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from ...domain.errors import CorruptLogError, InvalidError
from ...domain.event import Instant
from ...domain.ports import Stretch
from .choosing import Facts

CHUNK_EVENTS = 125
"""About 128 KiB of events of the usual size: what a socket takes without a rest."""
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


class Part(NamedTuple):
    """Events that follow each other."""

    first: int
    """The position of the first."""
    texts: Sequence[tuple[str, str, str]]
    """Of each the header, a newline and the payload."""

    @property
    def last(self) -> int:
        """The position of the last."""
        return self.first + len(self.texts) - 1

    @property
    def numbered(self) -> Iterator[tuple[int, tuple[str, str, str]]]:
        """The events with their positions."""
        return enumerate(self.texts, self.first)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What one line says."""

    position: int
    facts: Facts
    recorded_at: Instant
    payload: str | None
    payload_sha256: str


def parts(stretch: Stretch) -> Iterator[Part]:
    """Yield the events of a stretch, so many at a time as make a chunk. Errors: CorruptLogError."""
    for start in range(0, len(stretch.states), CHUNK_EVENTS):
        first = stretch.first + start
        try:
            states = stretch.states[start : start + CHUNK_EVENTS]
            texts = [state.decode().partition("\n") for state in states]
        except UnicodeDecodeError as error:
            raise CorruptLogError(position=first, detail=str(error)) from error
        part = Part(first, texts)
        for position, (_, newline, payload) in part.numbered:
            if not newline or "\n" in payload:
                raise CorruptLogError(position=position, detail="it is not two lines")
        yield part


def numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number. Errors: MalformedLineError for one without an end."""
    number = 0
    while line := lines.readline(MAX_LINE):
        number += 1
        if not line.endswith(b"\n"):
            raise MalformedLineError(number=number, detail="it has no end")
        yield number, line
