"""Formats: the ways in which a stretch of the log becomes lines that are read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Literal, Protocol

from ...domain.ports import Stretch
from . import ndjson, spreadsheet
from .choosing import Filter
from .lines import Chunk, Entry

Name = Literal["ndjson", "csv"]


class Format(Protocol):
    """One way to write events down; no line depends on those before it."""

    MEDIA: str
    HEAD: bytes
    """What stands before the first line."""
    HAS_ALL: bool
    """Whether there is a line also for an event that does not match."""

    def chunks(self, stretch: Stretch, chosen: Filter) -> Iterator[Chunk]:
        """Yield a stretch's lines, about 128 KiB at a time. Errors: CorruptLogError."""
        ...

    def entries(self, lines: BinaryIO) -> Iterator[Entry]:
        """Yield what lines say, without their head. Errors: MalformedLineError."""
        ...


FORMATS: Mapping[Name, Format] = {"ndjson": ndjson, "csv": spreadsheet}
"""Every format by its name, which is also how its files end."""
