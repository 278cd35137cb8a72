"""A log of any size, made of one true blue-green deployment told again and again.

The template is what the domain itself writes when a deployment replaces another; ids, targets and
versions are put in anew, and 8 deployments to 10 targets run at once.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
from uuid_utils.compat import uuid7

from shipslog.domain.event import Recorded, encode_header, sha256_hex

from ..domain.revisions import to_the_end
from ..domain.story import BLUE_GREEN, Story

AT_ONCE = 8
TARGETS = 10

TABLE = """
CREATE TABLE stored_events (
  position INTEGER PRIMARY KEY, originator_id TEXT NOT NULL, originator_version INTEGER NOT NULL,
  topic TEXT NOT NULL, state BLOB NOT NULL, UNIQUE (originator_id, originator_version))
"""
Row = tuple[int, str, int, str, bytes]


def generate(path: Path, events: int) -> None:
    """Write a table `stored_events` with so many events, or a few more, to a new SQLite file."""
    db = sqlite3.connect(path)
    db.execute(TABLE)
    db.executemany("INSERT INTO stored_events VALUES (?, ?, ?, ?, ?)", rows(events))
    db.commit()
    db.close()


def rows(events: int) -> Iterator[Row]:
    """Yield the rows of `stored_events`, in the order of their positions."""
    beginning, template, ids = asyncio.run(_template())
    position = count(1)
    versions: Counter[str] = Counter()
    for recorded in beginning:
        yield _row(recorded, next(position), versions, {})
    written, round_number = len(beginning), 0
    previous = [str(uuid7()) for _ in range(TARGETS)]
    while written < events:
        told: list[list[tuple[Recorded, dict[str, str]]]] = []
        for lane in range(AT_ONCE):
            place = (round_number * AT_ONCE + lane) % TARGETS
            new = str(uuid7())
            names = {ids[0]: previous[place], ids[1]: new, "staging": f"env-{place:03}"}
            previous[place] = new
            told.append([(recorded, names) for recorded in template])
        for step in zip(*told, strict=True):
            for recorded, names in step:
                yield _row(recorded, next(position), versions, names)
                written += 1
        round_number += 1


async def _template() -> tuple[list[Recorded], list[Recorded], tuple[str, str]]:
    story = Story()
    await story.begin(BLUE_GREEN)
    ids = (await story.request("1.0.0"), await story.request("1.1.0"))
    await to_the_end(story, ids[0])
    await to_the_end(story, ids[1], "1.1.0")
    events = list(await story.ledger.page(after=0, limit=10_000))
    second = [event for event in events if event.header.deployment == ids[1]]
    return events[:2], second, ids


def _row(recorded: Recorded, position: int, versions: Counter[str], names: dict[str, str]) -> Row:
    header, payload = recorded.header, recorded.payload
    line = msgspec.json.encode(header).decode()
    text = payload.decode()
    for old, new in names.items():
        line, text = line.replace(old, new), text.replace(old, new)
    header = msgspec.json.decode(line, type=type(header))
    versions[header.stream] += 1
    header = msgspec.structs.replace(
        header,
        stream_version=versions[header.stream],
        payload_sha256=sha256_hex(text.encode()),
    )
    state = encode_header(header) + b"\n" + text.encode()
    return position, header.stream, header.stream_version, header.topic, state
