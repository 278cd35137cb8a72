"""Texts that no door lets in now: an old event with one is folded, and the same on both engines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from shipslog.domain.event import Recorded
from shipslog.domain.language.parsing import Json
from shipslog.projections.replay import check

from ..counting import fingerprints
from ..engines import Engine, Sqlite

FREE = {"version", "message", "detail", "artifact", "argv", "env", "values", "document", "inputs"}
"""Fields whose texts are nobody's name."""
NAMES = {"kind", "name", "platform", "history_limit"}


def spoiled(events: Sequence[Recorded]) -> list[Recorded]:
    """Return events with a NUL in each free text."""
    payloads = (msgspec.json.encode(spoil(msgspec.json.decode(one.payload))) for one in events)
    return [
        Recorded(event.position, event.header, payload)
        for event, payload in zip(events, payloads, strict=True)
    ]


def spoil(value: Json, *, is_free: bool = False) -> Json:
    if isinstance(value, str):
        return f"{value[:3]}\0{value[3:]}" if is_free else value
    if isinstance(value, Mapping):
        return {
            key: one if key in NAMES else spoil(one, is_free=is_free or key in FREE)
            for key, one in value.items()
        }
    if isinstance(value, Sequence):
        return [spoil(one, is_free=is_free) for one in value]
    return value


def test_a_nul_in_an_old_event_parks_nothing(
    engine: Engine, events: Sequence[Recorded], tmp_path: Path
) -> None:
    old = spoiled(events)
    spoiled_topics = {e.header.topic for e in old if b"\\u0000" in e.payload}
    assert {"deployment.requested", "target.revision_started"} <= spoiled_topics
    views = engine.new()
    assert not views.apply(old).parked
    assert not list(check(old, views))
    elsewhere = Sqlite(tmp_path)
    other = elsewhere.new()
    other.apply(old)
    assert fingerprints(views) == fingerprints(other)
    elsewhere.close()
