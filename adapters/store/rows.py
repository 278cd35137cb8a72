"""Rows: what every store makes of an append before it writes it, and how it reads it back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ...domain.append import Append
from ...domain.errors import CorruptLogError
from ...domain.event import Recorded, encode_header, encode_payload

STRETCH_ROWS = 1000
"""Longer stretches are hardly faster."""
STRETCH_BYTES = 768 * 1024
"""A stretch ends with the event that goes beyond this."""


class Row(NamedTuple):
    """A row of `stored_events`; `state` is the header line, a newline, the payload line."""

    position: int
    stream: str
    version: int
    topic: str
    state: bytes


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What a command came to: the SHA-256 of its body and the positions of its append.

    An append without events has `first` = `last` + 1.
    """

    sha256: str
    first: int
    last: int


class Prepared(NamedTuple):
    """An append with its payloads encoded, so that what cannot be stored never queues."""

    append: Append
    payloads: tuple[bytes, ...]


def missing(position: int) -> CorruptLogError:
    """Return what a reader says that does not find every event from a position on."""
    return CorruptLogError(position=position, detail="from here on events are missing")


def prepare(append: Append) -> Prepared:
    """Encode an append's payloads.

    Errors: UnsealedError, EventTooLargeError; ValueError where one command id stands twice.
    """
    if len({command.id for command in append.commands}) < len(append.commands):
        message = "an append settles a command once"
        raise ValueError(message)
    return Prepared(append, tuple([encode_payload(draft.event) for draft in append.drafts]))


def stream_and_version(reference: str) -> tuple[str, int]:
    """Return the two parts of `stream@version`."""
    stream, _, version = reference.rpartition("@")
    return stream, int(version)


def row_of(recorded: Recorded) -> tuple[int, str, int, str, bytes]:
    """Return the columns of an event as in `Row`. Errors: EventTooLargeError for its header."""
    header = recorded.header
    state = b"%b\n%b" % (encode_header(header), recorded.payload)
    return recorded.position, header.stream, header.stream_version, header.topic, state
