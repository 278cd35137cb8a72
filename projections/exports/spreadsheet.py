"""CSV (RFC 4180): a row for every event that matches, a column for every field of the header.

No cell is a formula. Every text that does not begin with a letter, a digit or `{` gets a leading
apostrophe, as OWASP ASVS 1.2.10 has it; a text that begins with one gets another. So who reads
takes one leading apostrophe away, where there is one, and has what was stored.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

import msgspec

from ...domain.errors import CorruptLogError
from ...domain.event import CommandRef, Instant
from ...domain.ports import Stretch
from .choosing import Facts, Filter, facts_of
from .lines import MAX_LINE, Chunk, Entry, MalformedLineError, numbered, parts

MEDIA: str = "text/csv"
HAS_ALL: bool = False
COLUMNS = (
    "position",
    "recorded_at",
    "occurred_at",
    "topic",
    "event_version",
    "stream",
    "stream_version",
    "actor",
    "environment",
    "service",
    "deployment",
    "causation",
    "correlation",
    "fence",
    "command_id",
    "command_sha256",
    "payload_sha256",
    "payload",
)
HEAD: bytes = ",".join(COLUMNS).encode() + b"\r\n"
MARK = "'"

Cell = str | int | None

# Python's own reader would take no cell above 128 KiB, and a payload may have 256 KiB.
csv.field_size_limit(MAX_LINE)


class _Header(msgspec.Struct, frozen=True, gc=False):
    """A header with its instants as they are written."""

    recorded_at: str
    occurred_at: str
    topic: str
    event_version: int
    stream: str
    stream_version: int
    actor: str
    environment: str | None
    service: str | None
    deployment: str | None
    causation: str | None
    correlation: str | None
    fence: str | None
    command: CommandRef
    payload_sha256: str


def chunks(stretch: Stretch, chosen: Filter) -> Iterator[Chunk]:
    """Implement `Format.chunks`."""
    is_everything = chosen.is_everything
    for part in parts(stretch):
        events = [(n, header, payload) for n, (header, _, payload) in part.numbered]
        if not is_everything:
            events = [e for e in events if chosen.includes(facts_of(e[0], e[1]))]
        rows = "".join([_row(*event) for event in events])
        yield Chunk(rows.encode(), part.last, len(events))


def entries(lines: BinaryIO) -> Iterator[Entry]:
    """Implement `Format.entries`."""
    # A text with a line break in it makes a row of two lines.
    rows = csv.reader((line.decode() for _, line in numbered(lines)), strict=True)
    try:
        for row in rows:
            yield _entry(row)
    except (ValueError, csv.Error, msgspec.ValidationError) as error:
        raise MalformedLineError(number=rows.line_num, detail=error) from error


def safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    >>> safe("=1+1"), safe(" @1"), safe("-1"), safe("'"), safe("staging"), safe("")
    ("'=1+1", "' @1", "'-1", "''", 'staging', '')
    """
    # What is not known to be harmless is marked: blanks, controls and full-width signs, too.
    return text if not text or text[0].isalnum() or text[0] == "{" else MARK + text


def plain(cell: str) -> str:
    """Return the text that `safe` was given.

    >>> plain("'=1+1"), plain("''"), plain("staging")
    ('=1+1', "'", 'staging')
    """
    return cell.removeprefix(MARK)


def _row(position: int, header: str, payload: str) -> str:
    try:
        fields = msgspec.structs.astuple(_decode(header))
    except msgspec.DecodeError as error:
        raise CorruptLogError(position=position, detail=str(error)) from error
    command = cast("CommandRef", fields[-2])
    row = _cells((position, *fields[:-2], command.id, command.sha256, fields[-1]))
    return f"{row},{_quoted(safe(payload))}\r\n"


def _cells(values: Sequence[Cell]) -> str:
    """Return cells beside each other; hardly ever does one of a header need quotes."""
    cells = [safe(value) if type(value) is str else _number(value) for value in values]
    row = ",".join(cells)
    if row.count(",") >= len(cells) or _TO_QUOTE.search(row):
        return ",".join(map(_quoted, cells))
    return row


def _number(value: Cell) -> str:
    return "" if value is None else str(value)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _entry(row: Sequence[str]) -> Entry:
    said = dict(zip(COLUMNS, map(plain, row), strict=True))
    environment, service = said["environment"] or None, said["service"] or None
    return Entry(
        int(said["position"]),
        Facts(said["topic"], said["actor"], environment, service),
        msgspec.convert(said["recorded_at"], Instant),
        said["payload"],
        said["payload_sha256"],
    )


_TO_QUOTE = re.compile('["\r\n]')
_decode = msgspec.json.Decoder(_Header).decode
