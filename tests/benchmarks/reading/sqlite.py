"""How fast the whole log becomes objects, beside a scan that decodes nothing and the library.

`--quick` for a look. Events per second of one core's time; rounds are interleaved, medians shown.
The library reads the same events, each without our header.
"""

import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from eventsourcing.application import Application

from shipslog.adapters.store.sqlite.connections import LEDGER, Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader

from ..exporting.logs import fill_folder
from ..figures import Goal, told
from ..generated_log import rows
from .library import PAGE, bytes_an_event, through, write

QUICK = "--quick" in sys.argv
EVENTS = 30_000 if QUICK else 200_000
ROUNDS = 3 if QUICK else 5
GOALS = (
    Goal("headers decoded", "bare scan", 0.50),
    Goal("headers decoded", "library, all decoded", 4),
)
SCAN = "SELECT * FROM stored_events WHERE position > ? ORDER BY position LIMIT ?"

Way = Callable[[], Iterator[object]]


def main() -> None:
    """Print the speed of each way, and its ratio to the bare scan and to the library."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        fill_folder(data, rows(EVENTS))
        readers = Readers(data / LEDGER)
        reader = SqliteReader(readers)
        application = library(Path(folder) / "library.db")
        ways: dict[str, Way] = {
            "bare scan": lambda: bare(readers),
            "headers decoded": reader.scan,
            "all decoded": lambda: (recorded.event for recorded in reader.scan()),
            "library, all decoded": lambda: through(application),
        }
        told(compare(ways), "events/s", GOALS)
        readers.close()
        application.close()


def compare(ways: dict[str, Way]) -> dict[str, list[float]]:
    """Return what each round has shown."""
    seen: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, read in ways.items():
            began = time.process_time()
            (last, _) = deque(enumerate(read(), 1), maxlen=1).pop()
            seen[way].append(last / (time.process_time() - began))
    return seen


def bare(readers: Readers) -> Iterator[object]:
    """Yield rows as they come."""
    position = 0
    with readers.borrow() as connection:
        while rows := connection.execute(SCAN, (position, PAGE)).fetchall():
            yield from rows
            position = rows[-1][0]


def library(path: Path) -> Application[UUID]:
    """Return an application of the library's own with a log of its own, of the same events."""
    module = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}
    application = Application[UUID](env=module)
    write(application, rows(EVENTS))
    print(f"an event of the library has {bytes_an_event(application):.0f} bytes")
    return application


if __name__ == "__main__":
    main()
