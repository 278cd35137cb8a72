"""Checking: whether a file is the export that a manifest tells of; it needs the two and no more.

Of NDJSON the filter is applied again to the header of every event, so that an event that was
left out shows, also where the hash was made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from .formats import FORMATS, Format
from .lines import Entry, MalformedLineError
from .manifest import Manifest, Period, Tally

BLOCK = 1024 * 1024


class Fault(msgspec.Struct, frozen=True):
    """Something in which a file is not what its manifest says."""

    position: int | None
    """Of the event; null where it is about the whole."""
    detail: str


def check(file: BinaryIO, manifest: Manifest) -> Iterator[Fault]:
    """Yield every fault; none for a file that is what its manifest says."""
    tally = Tally()
    while block := file.read(BLOCK):
        tally.add(block)
    for name in ("bytes", "sha256"):
        told, found = getattr(manifest.content, name), getattr(tally.content, name)
        if told != found:
            yield Fault(None, f"{name} of the content: {found}, and not {told}")
    file.seek(0)
    made = FORMATS[manifest.format]
    if file.read(len(made.HEAD)) != made.HEAD:
        yield Fault(None, "it does not begin with the names of the columns")
        return
    try:
        yield from _Reading(made, manifest).faults(file)
    except MalformedLineError as error:
        yield Fault(None, str(error))


class _Reading:
    """A file as it is read, line by line."""

    def __init__(self, made: Format, manifest: Manifest) -> None:
        self._format = made
        self._manifest = manifest
        self._last = manifest.positions.first - 1
        self._matched = 0
        self._period = Period(None, None)

    def faults(self, lines: BinaryIO) -> Iterator[Fault]:
        for entry in self._format.entries(lines):
            yield from self._wrong_order(entry)
            yield from self._wrong_payload(entry)
            self._last = entry.position
            self._period = Period(self._period.from_ or entry.recorded_at, entry.recorded_at)
        yield from self._wrong_end()

    def _wrong_order(self, entry: Entry) -> Iterator[Fault]:
        follows = entry.position == self._last + 1
        if not (follows or (entry.position > self._last and not self._format.HAS_ALL)):
            yield Fault(entry.position, f"it stands behind position {self._last}")

    def _wrong_payload(self, entry: Entry) -> Iterator[Fault]:
        is_wanted = self._manifest.query.includes(entry.facts)
        self._matched += is_wanted
        if is_wanted is (entry.payload is None):
            yield Fault(entry.position, "the filter does not say so of its payload")
        if entry.payload is not None:
            sha256 = hashlib.sha256(entry.payload.encode()).hexdigest()
            if sha256 != entry.payload_sha256:
                yield Fault(entry.position, f"its payload has the hash {sha256}")

    def _wrong_end(self) -> Iterator[Fault]:
        manifest = self._manifest
        positions = manifest.positions
        if self._last > positions.last or (self._format.HAS_ALL and self._last < positions.last):
            yield Fault(None, f"it ends with position {self._last}, and not {positions.last}")
        if self._matched != manifest.counts.matched:
            yield Fault(None, f"{self._matched} events match, and not {manifest.counts.matched}")
        if manifest.counts.events != positions.count:
            yield Fault(None, f"{positions.count} positions, and not {manifest.counts.events}")
        if self._format.HAS_ALL and self._period != manifest.period:
            yield Fault(None, "its first and last event were recorded at other instants")
