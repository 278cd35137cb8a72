import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from shipslog.domain.errors import (
    CorruptLogError,
    EventTooLargeError,
    UnknownTopicError,
    UnsealedError,
)
from shipslog.domain.event import (
    MAX_PAYLOAD_BYTES,
    UPCASTERS,
    CommandRef,
    Event,
    Fence,
    Header,
    Personal,
    Recorded,
    Sealed,
    decode,
    decode_payload,
    encode_header,
    encode_payload,
    sha256_hex,
)

AT = datetime(2030, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
SEALED = Sealed("key", "nonce", "ciphertext")


class Moved(Event, frozen=True):
    """Version 3: `to` was called `where` in version 1, and had no `steps` before version 3."""

    TOPIC: ClassVar[str] = "test.moved"
    VERSION: ClassVar[int] = 3
    to: str
    steps: int
    why: Personal | None = None
    note: Personal = SEALED


class Stood(Event, frozen=True):
    """Nothing more to say."""

    TOPIC: ClassVar[str] = "test.stood"


def header(**said: Any) -> Header:
    fields: dict[str, Any] = {
        "stream": "deployment:d",
        "stream_version": 2,
        "topic": "test.moved",
        "event_version": 3,
        "occurred_at": AT,
        "recorded_at": AT,
        "actor": "sub_a",
        "environment": "staging",
        "service": "web",
        "deployment": "d",
        "causation": "deployment:d@1",
        "correlation": "d",
        "command": CommandRef("c", "s"),
        "fence": str(Fence(42, 7)),
        "payload_sha256": sha256_hex(b"{}"),
    }
    return Header(**(fields | said))


@pytest.fixture
def upcasters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTERS, ("test.moved", 1), lambda old: {**old, "to": old["where"]})
    monkeypatch.setitem(UPCASTERS, ("test.moved", 2), lambda old: {**old, "steps": 1})


def test_the_header_is_one_line_with_its_fields_in_order() -> None:
    assert encode_header(header(fence=None, environment=None)) == (
        b'{"stream":"deployment:d","stream_version":2,"topic":"test.moved","event_version":3,'
        b'"occurred_at":"2030-01-01T12:00:00.000005Z","recorded_at":"2030-01-01T12:00:00.000005Z",'
        b'"actor":"sub_a","environment":null,"service":"web","deployment":"d",'
        b'"causation":"deployment:d@1","correlation":"d","command":{"id":"c","sha256":"s"},'
        b'"fence":null,"payload_sha256":'
        b'"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}'
    )


def test_the_payload_is_one_line_that_begins_with_its_salt() -> None:
    payload = encode_payload(Moved(to="a\nb\u2028", steps=2))
    assert b"\n" not in payload
    fields = json.loads(payload)
    assert list(fields) == ["salt", "to", "steps", "why", "note"]
    assert len(bytes.fromhex(fields["salt"])) == 16


def test_no_two_payloads_are_the_same() -> None:
    payloads = {encode_payload(Stood()) for _ in range(100)}
    assert len(payloads) == 100
    assert all(set(json.loads(payload)) == {"salt"} for payload in payloads)


@pytest.mark.parametrize("event", [Moved(to="\x00ü", steps=-1), Moved(to="", steps=0, why=SEALED)])
def test_an_event_comes_back_as_it_was(event: Moved) -> None:
    assert decode_payload("test.moved", 3, encode_payload(event)) == event


def test_a_stored_event_decodes_its_payload_when_asked() -> None:
    payload = encode_payload(Stood())
    line = encode_header(header(topic="test.stood", event_version=1))
    recorded = decode(7, line + b"\n" + payload)
    assert isinstance(recorded, Recorded)
    assert (recorded.position, recorded.payload) == (7, payload)
    assert recorded.reference == "deployment:d@2"
    assert (recorded.originator_id, recorded.originator_version) == ("deployment:d", 2)
    assert recorded.event == Stood()
    assert recorded.event is recorded.event
    assert recorded.fact.at == AT


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\n",
        b"{}",
        b"null\n{}",
        b"\xff\n{}",
        b"[" * 100_000,
        encode_header(header())[:-1],
        encode_header(header()).replace(b"000005Z", b"000005"),
        encode_header(header()).replace(b'"stream_version":2', b'"stream_version":"2"'),
    ],
)
def test_what_is_no_header_says_where(state: bytes) -> None:
    with pytest.raises(CorruptLogError, match="position 7"):
        decode(7, state)


def test_a_field_that_came_later_is_read_over() -> None:
    line = encode_header(header())[:-1] + b',"weather":"fine"}'
    assert decode(1, line + b"\n{}").header == header()


def test_a_payload_of_an_older_version_is_brought_up_to_date(upcasters: None) -> None:
    del upcasters
    assert decode_payload("test.moved", 1, b'{"salt":"00","where":"x"}') == Moved(to="x", steps=1)
    assert decode_payload("test.moved", 2, b'{"salt":"00","to":"x"}') == Moved(to="x", steps=1)


@pytest.mark.parametrize(
    ("topic", "version"), [("test.unheard_of", 1), ("test.moved", 4), ("test.moved", 2)]
)
def test_what_this_build_does_not_know_is_not_guessed(topic: str, version: int) -> None:
    with pytest.raises(UnknownTopicError, match=f"know {topic} in version {version}"):
        decode_payload(topic, version, b'{"to":"x","steps":1}')


def test_a_payload_that_does_not_fit_is_refused() -> None:
    for payload in (b"{}", b'{"to":1,"steps":1}', b"[]", b""):
        with pytest.raises(msgspec.DecodeError):
            decode_payload("test.moved", 3, payload)


def test_a_personal_text_in_the_clear_is_never_encoded() -> None:
    event = Moved(to="x", steps=1, why="because of Bob", note="Bob again")
    with pytest.raises(UnsealedError, match="why"):
        encode_payload(event)
    with pytest.raises(UnsealedError, match="note"):
        encode_payload(msgspec.structs.replace(event, why=SEALED))
    sealed = msgspec.structs.replace(event, why=SEALED, note=SEALED)
    assert b"Bob" not in encode_payload(sealed)


def test_an_event_has_its_bounds() -> None:
    room = MAX_PAYLOAD_BYTES - len(encode_payload(Moved(to="", steps=1)))
    assert len(encode_payload(Moved(to="x" * room, steps=1))) == MAX_PAYLOAD_BYTES
    with pytest.raises(EventTooLargeError, match="payload of an event has 262145 bytes"):
        encode_payload(Moved(to="x" * (room + 1), steps=1))
    room = 65_535 - len(encode_header(header(actor="")))
    assert len(encode_header(header(actor="x" * room))) == 65_535
    with pytest.raises(EventTooLargeError, match="header of an event has 65536 bytes"):
        encode_header(header(actor="x" * (room + 1)))


def test_a_topic_belongs_to_one_event() -> None:
    with pytest.raises(TypeError, match=r"test\.moved is the topic of Moved"):
        type("Other", (Event,), {"TOPIC": "test.moved"})


def test_fences_grow_with_every_holder_and_every_takeover() -> None:
    fences = [Fence(10, 2), Fence(9, 9), Fence(42, 1), Fence(10, 1)]
    assert sorted(fences) == [Fence(9, 9), Fence(10, 1), Fence(10, 2), Fence(42, 1)]
    assert [Fence.parse(str(fence)) for fence in fences] == fences
    with pytest.raises(ValueError, match="unpack"):
        Fence.parse("42")


def test_two_threads_may_decode_the_first_event_of_a_kind_at_once() -> None:
    # In a process of its own: where this is wrong, msgspec takes the process down.
    program = Path(__file__).with_name("first_decodes.py")
    assert subprocess.run([sys.executable, program], check=False).returncode == 0
