import json
import pkgutil
from collections import Counter
from importlib import import_module
from typing import get_args

import msgspec
import pytest

import shipslog.domain
from shipslog.domain.event import TOPICS, Recorded, Sealed, encode_header, sha256_hex

from . import HERE, kept, name_of

for module in pkgutil.walk_packages(shipslog.domain.__path__, "shipslog.domain."):
    import_module(module.name)

KEPT = list(kept())
LINES = {line for path in HERE.glob("*.jsonl") for line in path.read_bytes().split(b"\n")}
OURS = {t: kind for t, kind in TOPICS.items() if kind.__module__.startswith("shipslog.")}


@pytest.mark.parametrize("recorded", KEPT, ids=name_of)
def test_an_event_that_was_written_always_loads(recorded: Recorded) -> None:
    assert isinstance(recorded.event, OURS[recorded.header.topic])
    assert recorded.header.payload_sha256 == sha256_hex(recorded.payload)


@pytest.mark.parametrize("recorded", KEPT, ids=name_of)
def test_it_says_what_was_stored(recorded: Recorded) -> None:
    assert recorded.header.recorded_at >= recorded.header.occurred_at
    assert encode_header(recorded.header) in LINES
    if recorded.header.event_version == OURS[recorded.header.topic].VERSION:
        said = json.loads(recorded.payload)
        assert len(bytes.fromhex(said.pop("salt"))) == 16
        now = json.loads(msgspec.json.encode(recorded.event))
        assert {name: now.get(name, "is gone") for name in said} == said


def test_every_event_of_today_is_kept() -> None:
    known = Counter(name_of(recorded) for recorded in KEPT)
    wanted = {f"{t} v{n}" for t, kind in OURS.items() for n in range(1, kind.VERSION + 1)}
    assert wanted - set(known) == set(), "see `tests/history/__init__.py` for how to add them"
    assert [name for name, times in known.items() if times > 1] == []


@pytest.mark.parametrize("topic", OURS)
def test_no_field_takes_the_place_of_the_salt(topic: str) -> None:
    assert "salt" not in OURS[topic].__struct_fields__


@pytest.mark.parametrize("topic", OURS)
def test_no_personal_text_hides_within_another_value(topic: str) -> None:
    for field in msgspec.structs.fields(OURS[topic]):
        directly = field.type is Sealed or Sealed in get_args(field.type)
        assert directly or Sealed not in inside(field.type), "the seal looks at fields only"


def inside(kind: object) -> set[object]:
    """Return a type and every type within it."""
    found: set[object] = {kind}
    parts: tuple[object, ...] = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        parts = tuple(field.type for field in msgspec.structs.fields(kind))
    for part in parts:
        found |= inside(part)
    return found
