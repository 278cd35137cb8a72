"""Exports over HTTP beside what they could be at best: COPY in process, or a scan of SQLite.

Rounds are interleaved and medians shown; `--quick` exports 10^5 events, without it 10^6. On
PostgreSQL the limit is a binary COPY of positions and events, taken row by row; on SQLite a scan
of the same. The server runs in a process of its own; its memory is the most that it ever held.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

import psycopg

from shipslog.adapters.store.sqlite.connections import Readers
from tests.benchmarks.exporting.asking import Server, served
from tests.benchmarks.exporting.logs import OURS, fill_database, fill_folder
from tests.benchmarks.figures import Goal, told
from tests.benchmarks.generated_log import rows
from tests.databases import fresh_ledger, make_template, running_server

QUICK = "--quick" in sys.argv
EVENTS = 100_000 if QUICK else 1_000_000
ROUNDS = 5 if QUICK else 3
NDJSON = "HTTP export"
GOALS = [Goal(NDJSON, "COPY in process", 0.50)]
COPY = """
COPY (SELECT position, state FROM stored_events ORDER BY position) TO STDOUT (FORMAT binary)
"""
SCAN = "SELECT position, state FROM stored_events WHERE position > ? ORDER BY position LIMIT 500"
QUERIES = {
    NDJSON: "format=ndjson",
    "HTTP export, filtered": "format=ndjson&environment=env-003",
    "HTTP export of CSV": "format=csv",
    "HTTP export of CSV, filtered": "format=csv&environment=env-003",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        fill_folder(data, rows(EVENTS))
        with served(str(data)) as server:
            compare("scan of SQLite", lambda: scan(data), server)
    with running_server(shared_buffers="256MB") as database:
        make_template(database)
        with fresh_ledger(database) as url:
            fill_database(url, rows(EVENTS))
            with served(url) as server:
                compare("COPY in process", lambda: copy(url), server)


def compare(limit: str, best: Callable[[], int], server: Server) -> None:
    """Measure and print everything on one engine."""
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    begun = server.most_megabytes
    for _ in range(ROUNDS):
        began = time.perf_counter()
        events = best()
        rates[limit].append(events / (time.perf_counter() - began))
        for name, query in QUERIES.items():
            spent, began = server.cpu_seconds, time.perf_counter()
            assert server.export(query) == events or query != QUERIES[NDJSON]
            rates[name].append(events / (time.perf_counter() - began))
            costs[name].append((server.cpu_seconds - spent) / events * 1e6)
    print(f"\n== {EVENTS:,} events, {limit}")
    told(rates, "events/s", GOALS)
    for name, found in costs.items():
        print(f"{name:30} {median(found):>12.2f} µs of the server's processor time an event")
    grown = server.most_megabytes - begun
    print(f"memory of the server: {begun:.0f} MB before, {grown:.0f} MB more at most")


def copy(url: str) -> int:
    """Take every event by COPY, and return how many they are."""
    with (
        psycopg.connect(url, options=OURS) as connection,
        connection.cursor() as cursor,
        cursor.copy(COPY) as copying,
    ):
        return sum(1 for _ in copying) - 1


def scan(data: Path) -> int:
    """Take every event in pages, and return how many they are."""
    readers, position = Readers(data / "ledger.db"), 0
    with readers.borrow() as connection:
        while page := connection.execute(SCAN, (position,)).fetchall():
            position = page[-1][0]
    readers.close()
    return position


if __name__ == "__main__":
    main()
