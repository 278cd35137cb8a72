"""Rows: what every store makes of an append before it writes it, and how it reads it back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ...domain.append import Append
from ...domain.event import Recorded, encode_header, encode_payload


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


def prepare(append: Append) -> Prepared:
    """Encode an append's payloads.

    Errors: UnsealedError, EventTooLargeError; ValueError where one command id stands twice.
    """
    ids = [command.id for command in append.commands]
    if len(ids) > 1 and len(set(ids)) < len(ids):
        message = "an append settles a command once"
        raise ValueError(message)
    return Prepared(append, tuple([encode_payload(draft.event) for draft in append.drafts]))


def row_of(recorded: Recorded) -> Row:
    """Return the row of an event. Errors: EventTooLargeError for its header."""
    header = recorded.header
    state = encode_header(header) + b"\n" + recorded.payload
    return Row(recorded.position, header.stream, header.stream_version, header.topic, state)
