"""What the tests of many processes share: writers to start, a reader that notes what it saw."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.errors import LedgerError
from shipslog.domain.event import Recorded

ROOT = Path(__file__).parents[4]

Acknowledged = dict[str, tuple[int, int]]


def start_writer(url: str, name: str, release: Release, rounds: int) -> subprocess.Popen[bytes]:
    arguments = [url, name, release.value, str(rounds)]
    program = [sys.executable, "-m", f"{__package__}.appending", *arguments]
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE)


def acknowledged(lines: Iterable[bytes]) -> Acknowledged:
    """Return what writers were answered, of what they printed whole."""
    said = [line.split() for line in lines if line.endswith(b"\n")]
    return {
        command.decode(): (int(rest[0]), int(rest[1]))
        for command, *rest in said
        if command != b"asked"
    }


class Reader:
    """Follows the log and notes every position in the order in which it saw it."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.seen: list[Recorded] = []

    async def follow(self) -> None:
        """Read until cancelled; where the database is away, go on where it was."""
        while True:
            position = self.seen[-1].position if self.seen else 0
            try:
                await self._store.log.wait_beyond(position, 1)
                self.seen += await self._store.log.page(after=position, limit=500)
            except LedgerError:
                await asyncio.sleep(0.05)

    async def reach(self, position: int) -> None:
        """Return once it has seen a position, as it follows."""
        while not self.seen or self.seen[-1].position < position:  # noqa: ASYNC110 - as it comes
            await asyncio.sleep(0.01)


def check(
    log: Sequence[Recorded], seen: Sequence[Recorded], answers: Acknowledged, whole: int = 3
) -> None:
    """Nothing skipped, nothing seen and gone, nothing acknowledged and lost, nothing half."""
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    assert [event.position for event in seen] == list(range(1, len(seen) + 1))
    for stored, shown in zip(log, seen, strict=False):
        assert (stored.header, stored.payload) == (shown.header, shown.payload)
    assert len(seen) <= len(log)
    for command, (first, last) in answers.items():
        assert {event.header.command.id for event in log[first - 1 : last]} == {command}
        assert last - first + 1 in {1, whole}
    counts: dict[str, int] = {}
    for event in log:
        counts[event.header.command.id] = counts.get(event.header.command.id, 0) + 1
    assert set(counts.values()) <= {1, whole}
