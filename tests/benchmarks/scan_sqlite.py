"""How fast the whole log becomes objects, beside a scan that decodes nothing and the library.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.scan_sqlite [EVENTS]`.
Events per second of one core's time; rounds are interleaved, medians shown.
"""

import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from eventsourcing.application import Application

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader

from .append_sqlite import Deployment
from .generated_log import generate

EVENTS = 200_000
LIBRARYS_EVENTS = 20_000
ROUNDS = 5
PAGE = 2000
GOAL, LIBRARY_GOAL = 0.50, 4
SCAN = "SELECT * FROM stored_events WHERE position > ? ORDER BY position LIMIT ?"

Way = Callable[[], Iterator[object]]


def main(events: int) -> None:
    """Print the speed of each way, and its ratio to the bare scan and to the library."""
    with tempfile.TemporaryDirectory() as folder:
        path, librarys = Path(folder) / "ledger.db", Path(folder) / "library.db"
        generate(path, events)
        readers = Readers(path)
        reader = SqliteReader(readers)
        application = library(librarys)
        ways: dict[str, Way] = {
            "bare scan": lambda: bare(readers),
            "headers decoded": reader.scan,
            "all decoded": lambda: (recorded.event for recorded in reader.scan()),
            "library, all decoded": lambda: through(application),
        }
        speeds = compare(ways)
        readers.close()
        application.close()
    limit, peer = speeds["bare scan"], speeds["library, all decoded"]
    print(f"{'events/s':<24}{'':>12}{'to the scan':>14}{'to the library':>16}")
    for way, speed in speeds.items():
        print(f"{way:<24}{speed:>12,.0f}{speed / limit:>14.2f}{speed / peer:>15.2f}x")
    print(f"goal: headers decoded at {GOAL} of the scan and {LIBRARY_GOAL}x the library")


def compare(ways: dict[str, Way]) -> dict[str, float]:
    """Return the medians of so many rounds."""
    seen: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, read in ways.items():
            began = time.process_time()
            (last, _) = deque(enumerate(read(), 1), maxlen=1).pop()
            seen[way].append(last / (time.process_time() - began))
    return {way: statistics.median(each) for way, each in seen.items()}


def bare(readers: Readers) -> Iterator[object]:
    """Yield rows as they come."""
    position = 0
    with readers.borrow() as connection:
        while rows := connection.execute(SCAN, (position, PAGE)).fetchall():
            yield from rows
            position = rows[-1][0]


def library(path: Path) -> Application[UUID]:
    """Return an application of the library's own with a log of its own."""
    module = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
    application = Application[UUID](env=module)
    for _ in range(LIBRARYS_EVENTS // 1000):
        aggregate = Deployment()
        for n in range(999):
            aggregate.trigger_event(Deployment.Tried, stage="deploy.switch", attempt=n)
        application.save(aggregate)
    return application


def through(application: Application[UUID]) -> Iterator[object]:
    """Yield the library's domain events, in pages of the same size."""
    position = 0
    while page := application.recorder.select_notifications(position + 1, PAGE):
        yield from map(application.mapper.to_domain_event, page)
        position = page[-1].id


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else EVENTS)
