"""A log of a few events to export, and exports of it made by the book."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from shipslog.domain.event import CommandRef, Header, encode_header, sha256_hex
from shipslog.domain.ports import Stretch
from shipslog.projections.exports import (
    Made,
    Manifest,
    Name,
    Period,
    Positions,
    Query,
    Selection,
    Source,
    Tally,
    manifest_of,
    written,
)

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIGNS = st.sampled_from(list("=+-@\t\r\n\0'\"; ,\uff1d\uff0b\uff0d\uff20\u200b\ufeff\u2212"))
TRICKY = st.builds(str.__add__, st.text(SIGNS, max_size=3), ANY_TEXT)


class Stored(NamedTuple):
    """An event as it is stored."""

    header: Header
    payload: str


def stored(number: int, **said: Any) -> Stored:
    payload = said.pop(
        "payload", json.dumps({"salt": "00", "number": number}, separators=(",", ":"))
    )
    fields: dict[str, Any] = {
        "stream": f"deployment:{number}",
        "stream_version": 1,
        "topic": "deployment.requested",
        "event_version": 1,
        "occurred_at": START,
        "recorded_at": START + timedelta(seconds=number),
        "actor": "sub_alice",
        "environment": "staging",
        "service": "web",
        "deployment": str(number),
        "causation": None,
        "correlation": None,
        "command": CommandRef("c" * 64, "d" * 64),
        "fence": None,
        "payload_sha256": sha256_hex(payload.encode()),
    }
    return Stored(Header(**fields | said), payload)


class FewEvents:
    """A log in memory, in stretches of a length of its own."""

    def __init__(self, events: Sequence[Stored], length: int = 7) -> None:
        self.events = events
        self._length = length

    def stretches(self, make: Callable[[Stretch], T], *, after: int, upto: int) -> Iterator[T]:
        while after < upto:
            part = self.events[after : min(after + self._length, upto)]
            states = [encode_header(e.header) + b"\n" + e.payload.encode() for e in part]
            yield make(Stretch(after + 1, states))
            after += len(part)

    def select(
        self, name: Name, query: Query | None = None, first: int = 1, last: int | None = None
    ) -> Selection:
        last = len(self.events) if last is None else last
        covered = [event.header.recorded_at for event in self.events[first - 1 : last]]
        return Selection(
            format=name,
            query=query or Query(),
            positions=Positions(first, last),
            period=Period(covered[0], covered[-1]) if covered else Period(None, None),
            log=Source(len(self.events), None),
        )

    def export(self, selection: Selection, *, has_head: bool = True) -> bytes:
        return b"".join(c.content for c in written(self, selection, has_head=has_head))

    def manifest(self, selection: Selection) -> Manifest:
        tally = Tally()
        for _ in tally.over(written(self, selection)):
            pass
        return manifest_of(selection, tally, Made(START, "sub_auditor", "shipslog 0"))


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """Return the lines of an NDJSON export, read with a parser that is not ours."""
    return [json.loads(line) for line in BytesIO(content)]
