"""The base of every event: header (who, when, why), payload, topic, and the two lines they become.

An event is stored as two JSON lines, exact bytes kept for ever: the header, which is the Merkle
leaf, and the payload, which carries a random salt beside its fields (ADR 0002). What is declared
`Personal` is sealed before it is stored, so that a key's destruction erases it while every hash
holds.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Annotated, Any, ClassVar, Self, get_args

import msgspec

from .errors import CorruptLogError, EventTooLargeError, UnknownTopicError, UnsealedError

MAX_HEADER_BYTES = 65_535
"""A C2SP tile entry is length-prefixed with 16 bits."""
MAX_PAYLOAD_BYTES = 256 * 1024


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A personal text as stored: AES-GCM under the key of its subject; all three base64url."""

    key: str
    """Id of the subject's key, in the key table beside the log."""
    nonce: str
    ciphertext: str


Personal = Sealed | str
"""A personal or free text: plain when a command brings it, sealed in the log and in every state."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact. Subclasses name their stored topic and version; fields are the payload."""

    TOPIC: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.TOPIC and TOPICS.setdefault(cls.TOPIC, cls) is not cls:
            message = f"{cls.TOPIC} is the topic of {TOPICS[cls.TOPIC].__qualname__}"
            raise TypeError(message)


TOPICS: dict[str, type[Event]] = {}
"""Every event class by its stored topic."""

UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(topic, version) to a pure function that returns the payload as the next version has it."""


class Fence(msgspec.Struct, frozen=True, order=True, gc=False):
    """Who may change a target: (position of `target.held`, lease token), compared as a tuple."""

    position: int
    token: int

    def __str__(self) -> str:
        return f"{self.position}.{self.token}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `position.token`."""
        position, token = text.split(".")
        return cls(int(position), int(token))


Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware instant; what has no time zone does not decode."""


class CommandRef(msgspec.Struct, frozen=True, gc=False):
    """Which command an event came from: its id and the SHA-256 of its body, both hex."""

    id: str
    sha256: str


class Header(msgspec.Struct, frozen=True, gc=False):
    """Line 1 of a stored event; nothing secret and nothing personal stands in it."""

    stream: str
    stream_version: int
    topic: str
    event_version: int
    occurred_at: Instant
    recorded_at: Instant
    actor: str
    environment: str | None
    service: str | None
    deployment: str | None
    causation: str | None
    """`stream@version` of the event that caused this one."""
    correlation: str | None
    command: CommandRef
    fence: str | None
    payload_sha256: str


class Fact(msgspec.Struct, frozen=True, gc=False):
    """An event as a fold sees it, stored already or only decided (position 0)."""

    event: Event
    at: datetime
    actor: str
    position: int = 0


class Recorded(msgspec.Struct, eq=False, gc=False):
    """A stored event: its position, its decoded header and, when asked, its payload.

    `originator_id` and `originator_version` are the names by which the eventsourcing library's
    repository knows the stream and its version.
    """

    position: int
    header: Header
    payload: bytes
    _event: Event | None = None

    @property
    def event(self) -> Event:
        """The payload as the class its topic names, older versions brought up to date."""
        if self._event is None:
            self._event = decode_payload(self.header.topic, self.header.event_version, self.payload)
        return self._event

    @property
    def fact(self) -> Fact:
        """What a fold needs of it."""
        header = self.header
        return Fact(self.event, header.occurred_at, header.actor, self.position)

    @property
    def reference(self) -> str:
        """`stream@version`, by which an event names the one that caused it."""
        return f"{self.header.stream}@{self.header.stream_version}"

    @property
    def originator_id(self) -> str:
        """The stream."""
        return self.header.stream

    @property
    def originator_version(self) -> int:
        """The version within the stream, from 1."""
        return self.header.stream_version


def encode_payload(event: Event) -> bytes:
    """Return line 2: a fresh 16-byte salt in hex, then the fields in the order of the class.

    Errors: UnsealedError for a personal text in the clear, EventTooLargeError above 256 KiB.
    """
    for name in _personal_fields(type(event)):
        if isinstance(getattr(event, name), str):
            raise UnsealedError(field=name)
    fields = _ENCODER.encode(event)
    salt = secrets.token_bytes(16).hex().encode()
    payload = b'{"salt":"%b"%b%b' % (salt, b"" if fields == b"{}" else b",", fields[1:])
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EventTooLargeError(part="payload", size=len(payload), limit=MAX_PAYLOAD_BYTES)
    return payload


def encode_header(header: Header) -> bytes:
    """Return line 1, the Merkle leaf."""
    line = _ENCODER.encode(header)
    if len(line) > MAX_HEADER_BYTES:
        raise EventTooLargeError(part="header", size=len(line), limit=MAX_HEADER_BYTES)
    return line


def decode(position: int, state: bytes) -> Recorded:
    """Return a stored event from the bytes of its `state` column; the payload stays undecoded.

    Errors: CorruptLogError where line 1 is no header.
    """
    header, _, payload = state.partition(b"\n")
    try:
        return Recorded(position, _HEADERS.decode(header), payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptLogError(position=position, detail=str(error)) from error


def decode_payload(topic: str, version: int, payload: bytes) -> Event:
    """Return the event that a payload line holds, brought up to the newest version of its class.

    Errors: UnknownTopicError for a topic or a version that this build does not know.
    """
    kind = TOPICS.get(topic)
    if kind is None or version > kind.VERSION:
        raise UnknownTopicError(topic=topic, version=version)
    decoder = _decoder(kind)
    if version == kind.VERSION:
        return decoder.decode(payload)
    fields: dict[str, Any] = msgspec.json.decode(payload)
    for step in range(version, kind.VERSION):
        if (topic, step) not in UPCASTERS:
            raise UnknownTopicError(topic=topic, version=step)
        fields = UPCASTERS[topic, step](fields)
    return msgspec.convert(fields, kind)


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


_ENCODER = msgspec.json.Encoder()
_HEADERS = msgspec.json.Decoder(Header)
_SEALED = msgspec.json.Decoder(Sealed)
"""Made here so that the class is known whole to msgspec before there is a second thread."""
_DECODERS: dict[type[Event], msgspec.json.Decoder[Event]] = {}
_MAKING = Lock()


def _decoder(kind: type[Event]) -> msgspec.json.Decoder[Event]:
    if kind not in _DECODERS:
        # While msgspec learns a class, another thread that decodes it reads through a null pointer.
        with _MAKING:
            if kind not in _DECODERS:
                _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


@cache
def _personal_fields(kind: type[Event]) -> tuple[str, ...]:
    fields = msgspec.structs.fields(kind)
    return tuple(field.name for field in fields if Sealed in get_args(field.type))
