"""How the tests of exports ask for them, and what they compare them with."""

import csv
import json
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import repeat
from typing import Any, TypeVar

from shipslog.domain.event import Recorded, encode_header
from shipslog.domain.ports import Stretch

from ..served import Answer, Served

PATH = "/v1/exports"
Row = dict[str, Any]
T = TypeVar("T")


async def exported(served: Served, query: str = "", **options: Any) -> bytes:
    answer = await export(served, query, **options)
    assert answer.status == 200, answer.body
    return answer.body


async def export(served: Served, query: str = "", **options: Any) -> Answer:
    return await served.get(f"{PATH}?{query}" if query else PATH, **options)


def lines_of(content: bytes) -> list[Row]:
    return [json.loads(line) for line in content.splitlines()]


def table_of(content: bytes) -> list[Row]:
    return list(csv.DictReader(StringIO(content.decode(), newline=""), strict=True))


def stored(served: Served) -> list[Recorded]:
    return list(served.store.log.scan())


def line(event: Recorded, *, is_wanted: bool = True) -> Row:
    return {
        "position": event.position,
        "header": encode_header(event.header).decode(),
        "payload": event.payload.decode() if is_wanted else None,
    }


def endless(served: Served) -> Callable[..., Iterator[object]]:
    """Return how a log without an end is read: its first event again and again."""
    (first,) = served.store.log.stretches(lambda stretch: stretch.states, after=0, upto=1)
    stretch = Stretch(1, [*first] * 500)

    def stretches(make: Callable[[Stretch], T], **_: int) -> Iterator[T]:
        return map(make, repeat(stretch))

    return stretches
