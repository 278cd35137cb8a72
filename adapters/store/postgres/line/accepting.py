"""What an operator asks and says of a log that may have been rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from .....domain.errors import LedgerError
from .....domain.event import decode
from ...errors import LogRolledBackError, OldPrimaryError
from ...seen import Mark, Seen, keep, recall
from ..connections import Connections
from .meeting import Line

_NEWEST = "SELECT position, state FROM shipslog.stored_events ORDER BY position DESC LIMIT 1"


class Standing(NamedTuple):
    """A database beside what this host has seen of its log."""

    seen: Seen
    timeline: int
    lost: LedgerError | None
    """Why no process of this host goes on with it, or None."""


async def standing(url: str, file: Path) -> Standing:
    """Compare a database with what is kept in a file. Errors: StoreUnreachableError."""
    seen = recall(file)
    now = await _present(url)
    line = Line(seen)
    connections = Connections(url, line)
    lost: LedgerError | None = None
    try:
        async with connections.borrow():
            pass
    except (LogRolledBackError, OldPrimaryError) as error:
        lost = error
    finally:
        await connections.close()
    return Standing(seen, now.timeline, lost)


async def accept(url: str, file: Path) -> Standing:
    """Take a database as it is, whatever was seen before; return how they stood, and what is kept.

    Processes of this host that run meanwhile end. Errors: StoreUnreachableError.
    """
    before = await standing(url, file)
    if before.lost is None:
        return before
    present = await _present(url)
    present = msgspec.structs.replace(present, accepted=before.seen.accepted + 1)
    return before._replace(seen=keep(file, present))


async def _present(url: str) -> Seen:
    line = Line()
    connections = Connections(url, line)
    try:
        async with connections.borrow() as connection:
            found = await (await connection.execute(_NEWEST, binary=True)).fetchall()
    finally:
        await connections.close()
    marks = tuple(Mark(p, decode(p, state).header.payload_sha256) for p, state in found)
    return msgspec.structs.replace(line.seen, marks=marks)
