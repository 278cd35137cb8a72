"""How fast a whole log is folded, beside a bare scan of the same rows.

`--quick` for a look.
"""

import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.projections.replay import replay_all

from ..figures import Goal, told
from ..generated_log import generate

QUICK = "--quick" in sys.argv
EVENTS = 30_000 if QUICK else 200_000
ROUNDS = 3 if QUICK else 5
GOAL = 100_000
PAGE = 2000

SCAN = "SELECT position, state FROM stored_events WHERE position > ? ORDER BY position LIMIT ?"


def main() -> None:
    """Print events per second of a core's time, in interleaved rounds, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        generate(path, EVENTS)
        reader = SqliteReader(Readers(path))
        rounds = [(scanned(path), replayed(reader), float(GOAL)) for _ in range(ROUNDS)]
    names = ("bare scan", "replay --all", f"{GOAL:,} events/s")
    rates = dict(zip(names, map(list, zip(*rounds, strict=True)), strict=True))
    told(rates, "events/s", (Goal("replay --all", names[2], 1),))


def replayed(reader: SqliteReader) -> float:
    """Return how many events a second are decoded and folded."""
    began = time.process_time()
    position = replay_all(reader.scan()).position
    return position / (time.process_time() - began)


def scanned(path: Path) -> float:
    """Return how many rows a second are read and not looked at."""
    db = sqlite3.connect(path)
    began, position = time.process_time(), 0
    while rows := db.execute(SCAN, (position, PAGE)).fetchall():
        position = rows[-1][0]
    seconds = time.process_time() - began
    db.close()
    return position / seconds


if __name__ == "__main__":
    main()
