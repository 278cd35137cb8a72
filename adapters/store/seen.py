"""What a host has seen of a log, kept beside the log itself: by it a log that went back is known.

A failover to a standby that lagged, or an older copy put in the place of a database, takes back
events that were acknowledged and acted on. The database cannot know; who has seen them does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...domain.event import Recorded
from .errors import UnusableLedgerError

FILE = "seen.json"


class Mark(NamedTuple):
    """An event that was durable: where it stood, and the hash of its payload with its salt."""

    position: int
    payload_sha256: str


class Seen(msgspec.Struct, frozen=True):
    """How far a log was seen, on which line of a database's history."""

    system: int = 0
    """The identifier of the database's cluster, which its standbys share; 0 for none yet."""
    timeline: int = 0
    """Rises with each promotion."""
    accepted: int = 0
    """How often an operator has taken a log as it is; what was seen before is void then."""
    marks: tuple[Mark, ...] = ()
    """Some events, the newest last."""

    @property
    def position(self) -> int:
        """The newest position."""
        return self.marks[-1].position if self.marks else 0

    def with_others(self, other: Seen) -> Seen:
        """Return what two together have seen."""
        if other.accepted != self.accepted:
            return max(self, other, key=lambda seen: seen.accepted)
        further = max(self, other, key=lambda seen: seen.position)
        if other.system != self.system:
            return self if self.system else other
        return msgspec.structs.replace(further, timeline=max(self.timeline, other.timeline))


class Marks:
    """Marks that grow thinner backwards: of n events about log2(n), with the newest."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._kept: dict[int, Mark] = {}
        self.newest: Mark | None = None
        for mark in marks:
            self._keep(mark)

    def note(self, events: Iterable[Recorded]) -> None:
        """Remember events that are durable, in the order of the log."""
        for event in events:
            if self.newest is None or event.position > self.newest.position:
                self._keep(Mark(event.position, event.header.payload_sha256))

    def all(self) -> tuple[Mark, ...]:
        """Return what is kept, by position."""
        newest = {self.newest} if self.newest else set[Mark]()
        return tuple(sorted({*self._kept.values(), *newest}))

    def _keep(self, mark: Mark) -> None:
        # Half of all positions end on a binary 1, a quarter on 10, and so on.
        self._kept[(mark.position & -mark.position).bit_length()] = mark
        self.newest = mark


def recall(file: Path) -> Seen:
    """Return what was kept. Errors: UnusableLedgerError for a file that cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Seen)
    except FileNotFoundError:
        return Seen()
    except (OSError, msgspec.DecodeError) as error:
        raise UnusableLedgerError(path=file, detail=str(error)) from error


def keep(file: Path, seen: Seen) -> Seen:
    """Keep what was seen, with what other processes of the host have kept; return all of it.

    Errors: OSError, UnusableLedgerError.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(file.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = recall(file)
        together = seen.with_others(before)
        if together != before:
            _write(file, together)
    finally:
        os.close(lock)
    return together


def _write(file: Path, seen: Seen) -> None:
    # Whole or not at all, also after a power cut.
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as writing:
        writing.write(msgspec.json.encode(seen))
        writing.flush()
        os.fsync(writing.fileno())
    fresh.replace(file)
