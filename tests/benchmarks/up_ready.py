"""How long `shipslog up` takes until it says where it is, on a new and on a grown data folder.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.up_ready [EVENTS]`.
"""

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shipslog.adapters.store.sqlite.store import SqliteStore

from .generated_log import rows

ROUNDS = 5
GOAL = 3.0
EVENTS = 100_000
SHIPSLOG = str(Path(sys.executable).with_name("shipslog"))


def main(events: int) -> None:
    """Print the medians of both, and the goal."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"up ready, medians of {ROUNDS}, goal {GOAL:.1f} s")
        for name, count in (("new", 0), ("grown", events)):
            data = Path(folder) / name
            fill(data, count)
            seconds = statistics.median(ready(data) for _ in range(ROUNDS))
            print(f"  {count:>9,} events {seconds:>8.2f} s")


def fill(data: Path, events: int) -> None:
    """Make a data folder whose log has so many events."""
    SqliteStore.open(data).close()
    if not events:
        return

    db = sqlite3.connect(data / "ledger.db")
    db.executemany("INSERT INTO stored_events VALUES (?, ?, ?, ?, ?)", rows(events))
    db.commit()
    db.close()


def ready(data: Path) -> float:
    """Return the seconds from the start of a server to its first line; it is ended."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(data / "config")}
    began = time.perf_counter()
    with subprocess.Popen(
        [SHIPSLOG, "up", "--listen", "127.0.0.1:0", "--data", str(data)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdout
        server.stdout.readline()
        seconds = time.perf_counter() - began
        server.terminate()
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
