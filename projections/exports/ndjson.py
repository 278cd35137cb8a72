"""NDJSON: a line for every event; its payload is null where it does not match the filter.

Since every header is there, whoever has the file can apply the filter again and see that no
event was left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from ...domain.event import Instant
from ...domain.ports import Stretch
from .choosing import Facts, Filter, facts_of
from .lines import Chunk, Entry, MalformedLineError, numbered, parts

MEDIA: str = "application/x-ndjson"
HAS_ALL: bool = True
HEAD: bytes = b""


class Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One event; the strings are the exact bytes that are stored."""

    position: int
    header: str
    payload: str | None


class _Header(Facts, frozen=True, gc=False):
    recorded_at: Instant
    payload_sha256: str


def chunks(stretch: Stretch, chosen: Filter) -> Iterator[Chunk]:
    """Implement `Format.chunks`."""
    is_everything = chosen.is_everything
    for part in parts(stretch):
        events = [Line(n, header, payload) for n, (header, _, payload) in part.numbered]
        matched = len(events) if is_everything else _choose(events, chosen)
        yield Chunk(_encode(events), part.last, matched)


def entries(lines: BinaryIO) -> Iterator[Entry]:
    """Implement `Format.entries`."""
    for number, text in numbered(lines):
        try:
            line = _decode(text)
            header = _decode_header(line.header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedLineError(number=number, detail=error) from error
        facts = Facts(header.topic, header.actor, header.environment, header.service)
        sha256 = header.payload_sha256
        yield Entry(line.position, facts, header.recorded_at, line.payload, sha256)


def _choose(events: list[Line], chosen: Filter) -> int:
    """Take the payload from what does not match, and return how many do."""
    matched = 0
    for event in events:
        if chosen.includes(facts_of(event.position, event.header)):
            matched += 1
        else:
            event.payload = None
    return matched


_encode = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Line).decode
_decode_header = msgspec.json.Decoder(_Header).decode
