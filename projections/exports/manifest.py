"""Manifest: what was asked of an export, what it covers, and the hash by which it is known.

It stands beside the export as a document of its own, so that it can be signed as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from ...domain.event import Instant
from .choosing import Filter
from .formats import Name
from .lines import Chunk

Bound = int | Instant
"""A position, or an instant at which events were recorded."""


class Query(Filter, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What was asked; both ends are included, and none means the log's own."""

    from_: Bound | None = None
    until: Bound | None = None


class Positions(msgspec.Struct, frozen=True):
    """The events that an export covers; of none, `first` is `last` + 1."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Period(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """When the first and the last of the events were recorded; null where there is none."""

    from_: Instant | None
    until: Instant | None


class Source(msgspec.Struct, frozen=True):
    """The log as it stood: where it ended, and the hash of that payload."""

    head: int
    payload_sha256: str | None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A query about a log that ends somewhere: what it means, for good."""

    format: Name
    query: Query
    positions: Positions
    period: Period
    log: Source


class Counts(msgspec.Struct, frozen=True):
    """How many events there are in the period, and how many of them match."""

    events: int
    matched: int


class Content(msgspec.Struct, frozen=True):
    """The bytes of the export, as `wc -c` and `sha256sum` say them."""

    bytes: int
    sha256: str


class Made(msgspec.Struct, frozen=True):
    """When, for whom and by what it was made."""

    at: Instant
    by: str | None
    """A subject's id; null where it was read from the store itself."""
    with_: str = msgspec.field(name="with")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an export is."""

    manifest: Literal["shipslog-export/1"] = "shipslog-export/1"
    format: Name
    query: Query
    positions: Positions
    period: Period
    counts: Counts
    content: Content
    log: Source
    made: Made


class Tally:
    """Counts an export as it is made."""

    def __init__(self) -> None:
        self.bytes = 0
        self.matched = 0
        self._hash = hashlib.sha256()

    def over(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield chunks, each counted."""
        for chunk in chunks:
            self.add(chunk.content)
            self.matched += chunk.matched
            yield chunk

    def add(self, content: bytes) -> None:
        """Count bytes."""
        self.bytes += len(content)
        self._hash.update(content)

    @property
    def content(self) -> Content:
        """What has been counted so far."""
        return Content(self.bytes, self._hash.hexdigest())


def manifest_of(selection: Selection, tally: Tally, made: Made) -> Manifest:
    """Return the manifest of an export that was counted from its first byte to its last."""
    return Manifest(
        format=selection.format,
        query=selection.query,
        positions=selection.positions,
        period=selection.period,
        counts=Counts(selection.positions.count, tally.matched),
        content=tally.content,
        log=selection.log,
        made=made,
    )
