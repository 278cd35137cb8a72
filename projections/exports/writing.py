"""Writing: the lines of a selection, in order, without ever holding more than a stretch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from ...domain.ports import Stretch
from .formats import FORMATS
from .lines import Chunk
from .manifest import Selection

Result = TypeVar("Result")


class Stretches(Protocol):
    """The log as its stored bytes."""

    def stretches(
        self, make: Callable[[Stretch], Result], *, after: int, upto: int
    ) -> Iterator[Result]:
        """Yield what is made of the events above a position up to another, which is durable."""
        ...


def written(log: Stretches, selection: Selection, *, has_head: bool = True) -> Iterator[Chunk]:
    """Yield an export from its first byte to its last; it waits for the database where it stands.

    Errors: CorruptLogError, where what was yielded before is true still.
    """
    made = FORMATS[selection.format]
    first, last = selection.positions.first, selection.positions.last
    if has_head and made.HEAD:
        yield Chunk(made.HEAD, first - 1, 0)

    def chunks(stretch: Stretch) -> list[Chunk]:
        return list(made.chunks(stretch, selection.query))

    for some in log.stretches(chunks, after=first - 1, upto=last):
        yield from some
