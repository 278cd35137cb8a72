"""How fast a whole log is folded, beside a bare scan of the same rows.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.replay_all [EVENTS]`.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.projections.replay import replay_all

from .generated_log import generate

EVENTS = 200_000
ROUNDS = 5
GOAL = 100_000
PAGE = 2000

SCAN = "SELECT position, state FROM stored_events WHERE position > ? ORDER BY position LIMIT ?"


def main(events: int) -> None:
    """Print events per second of a core's time, medians of interleaved rounds, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        generate(path, events)
        reader = SqliteReader(Readers(path))
        rounds = [(scanned(path), replayed(reader)) for _ in range(ROUNDS)]
    bare, ours = (statistics.median(one) for one in zip(*rounds, strict=True))
    print(f"replay of {events:,} events, one core, medians of {ROUNDS}")
    print(f"  bare scan   {bare:>12,.0f} events/s")
    print(f"  replay_all  {ours:>12,.0f} events/s   goal {GOAL:,}")
    print(f"  ratio       {ours / bare:>12.2f}")


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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
