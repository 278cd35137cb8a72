"""Partial: how far an export had come that was cut off."""

from __future__ import annotations

from io import BytesIO
from os import SEEK_END
from typing import BinaryIO, NamedTuple

from .formats import Format
from .lines import MAX_LINE


class Partial(NamedTuple):
    """The whole lines of an export that was cut off."""

    size: int
    """Their bytes."""
    last: int
    """The position of the last of them."""


def read_partial(file: BinaryIO, made: Format) -> Partial | None:
    """Return how far a file has come, None where it has no whole line; only its end is read.

    Errors: MalformedLineError for a last line that is none of the format.
    """
    size = file.seek(0, SEEK_END)
    file.seek(max(len(made.HEAD), size - 2 * MAX_LINE))
    lines, newline, cut = file.read().rpartition(b"\n")
    if not newline:
        return None
    last = lines.rpartition(b"\n")[2] + newline
    (entry,) = made.entries(BytesIO(last))
    return Partial(size - len(cut), entry.position)
