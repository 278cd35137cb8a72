"""Verification: whether a stored log holds together, read twice through and held nowhere.

Once by position: columns against header, header against payload, positions and `recorded_at`
without a step back, commands and causes where they are said to be. Once by stream: versions
without a gap, `occurred_at` without a step back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from ...domain.errors import CorruptLogError
from ...domain.event import Header, Recorded, decode, sha256_hex
from .rows import Row, Settled

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Finding(msgspec.Struct, frozen=True):
    """Something that does not hold together, and where; position 0 means the file itself."""

    position: int
    stream: str
    detail: str


class Evidence(Protocol):
    """What a store lays open to be verified."""

    def rows(self) -> Iterator[Row]:
        """Yield every event by position."""
        ...

    def rows_by_stream(self) -> Iterator[Row]:
        """Yield every event by stream and version."""
        ...

    def position_of(self, stream: str, version: int) -> int | None:
        """Return where an event of a stream stands."""
        ...

    def settled(self, command_id: str) -> Settled | None:
        """Return what a command came to."""
        ...

    def last_settled(self) -> int:
        """Return the highest position that any command was answered with, 0 for none."""
        ...


def verify(evidence: Evidence) -> Iterator[Finding]:
    """Yield everything that does not hold together; nothing at all for a sound log."""
    yield from _by_position(evidence)
    yield from _by_stream(evidence)


def _by_position(evidence: Evidence) -> Iterator[Finding]:
    position, recorded_at = 0, _LONG_AGO
    # Asked for first: beside a server the log grows while it is read.
    settled = evidence.last_settled()
    for row in evidence.rows():
        if row.position != position + 1:
            yield _finding(row, f"position {position + 1} is missing")
        position = row.position
        try:
            recorded = _decoded(row)
        except CorruptLogError as error:
            yield _finding(row, f"the header cannot be read: {error.context['detail']}")
            continue
        faults = [*_faults_of_header(row, recorded), *_faults_of_links(evidence, recorded)]
        if recorded.header.recorded_at < recorded_at:
            faults.append("recorded_at is before that of the position before")
        yield from (_finding(row, fault) for fault in faults)
        recorded_at = max(recorded_at, recorded.header.recorded_at)
    if settled > position:
        detail = f"a command was answered with position {settled}"
        yield Finding(position, "", f"the log ends here, but {detail}")


def _by_stream(evidence: Evidence) -> Iterator[Finding]:
    stream, version, occurred_at = "", 0, _LONG_AGO
    for row in evidence.rows_by_stream():
        if row.stream != stream:
            stream, version, occurred_at = row.stream, 0, _LONG_AGO
        if row.version != version + 1:
            yield _finding(row, f"version {version + 1} is missing")
        version = row.version
        try:
            at = _decoded(row).header.occurred_at
        except CorruptLogError:
            continue  # found by position
        if at < occurred_at:
            yield _finding(row, "occurred_at is before that of the version before")
        occurred_at = max(at, occurred_at)


def _decoded(row: Row) -> Recorded:
    try:
        return decode(row.position, row.state)
    except (AttributeError, TypeError) as error:
        detail = "the state is no bytes"
        raise CorruptLogError(position=row.position, detail=detail) from error


def _faults_of_header(row: Row, recorded: Recorded) -> Iterator[str]:
    header = recorded.header
    if row.stream != header.stream:
        yield f"the stream's column differs from the header's {header.stream}"
    if row.version != header.stream_version:
        yield f"the version's column differs from the header's {header.stream_version}"
    if row.topic != header.topic:
        yield f"the topic's column differs from the header's {header.topic}"
    if sha256_hex(recorded.payload) != header.payload_sha256:
        yield "the payload is not the one that the header's payload_sha256 names"


def _faults_of_links(evidence: Evidence, recorded: Recorded) -> Iterator[str]:
    header, position = recorded.header, recorded.position
    settled = evidence.settled(header.command.id)
    if settled is None:
        yield "its command is not among those that were settled"
    elif settled.sha256 != header.command.sha256:
        yield "its command was settled with another body"
    elif not settled.first <= position <= settled.last:
        yield f"its command was settled at {settled.first} to {settled.last}"
    if header.causation is not None and not _is_caused(evidence, header, position, settled):
        yield f"its cause {header.causation} stands neither before it nor in the same append"


def _is_caused(evidence: Evidence, header: Header, position: int, settled: Settled | None) -> bool:
    stream, _, version = (header.causation or "").rpartition("@")
    if not version.isdecimal():
        return False
    cause = evidence.position_of(stream, int(version))
    if cause is None or cause == position:
        return False
    return cause < position or (settled is not None and settled.first <= cause <= settled.last)


def _finding(row: Row, detail: str) -> Finding:
    return Finding(row.position, row.stream, detail)
