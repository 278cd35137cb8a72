"""What grows with the log: an append, pages, a stream, a replay at 10^4 and 10^6 events; `--quick`.

Both sizes are there at once and are asked in turn, so that what disturbs the machine disturbs
both. The full size takes some minutes and 8 GB of disk.
"""

import shutil
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.figures import Goal, told
from tests.benchmarks.growing import logs, pages
from tests.databases import fresh_ledger, make_template, running_server

QUICK = "--quick" in sys.argv
SIZES = (1_000, 100_000) if QUICK else (10_000, 1_000_000)
ROUNDS, TIMES = (3, 60) if QUICK else (5, 400)
REPLAYS = 2
GIGABYTES = 1 if QUICK else 8
MOST = {
    "append": 1.25,
    "log page": 1.15,
    "one stream": 2,
    "status, SQLite,": 1.05,
    "status, PostgreSQL,": 1.05,
    "history of a target, SQLite,": 1.15,
    "history of a target, PostgreSQL,": 1.15,
    "running somewhere, SQLite,": 1.15,
    "running somewhere, PostgreSQL,": 1.15,
    "replay, an event,": 1.15,
}
"""What the last five may grow by is no goal of the design; it is that of a page of the log."""


def main() -> None:
    """Print the median microseconds of each, and how they grow."""
    if shutil.disk_usage(tempfile.gettempdir()).free < GIGABYTES << 30:
        sys.exit(f"growth needs {GIGABYTES} GB of disk in {tempfile.gettempdir()}")
    micros: dict[str, list[float]] = defaultdict(list)
    with running_server(shared_buffers="1GB") as server:
        make_template(server)
        logs.ask(server, SIZES, (ROUNDS, TIMES), micros)
        with ExitStack() as ending:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
            embedded = {size: pages.on_sqlite(folder, size) for size in SIZES}
            shared = {
                size: pages.on_postgres(folder, size, ending.enter_context(fresh_ledger(server)))
                for size in SIZES
            }
            for engine, views in (("SQLite", embedded), ("PostgreSQL", shared)):
                pages.ask(engine, views, (ROUNDS, TIMES), micros)
                for one in views.values():
                    one.close()
            pages.replay(folder, SIZES, REPLAYS, micros)
    small, large = SIZES
    goals = [
        Goal(f"{what} at {large:,}", f"{what} at {small:,}", most, most=True)
        for what, most in MOST.items()
    ]
    told(micros, "us", goals)


if __name__ == "__main__":
    main()
