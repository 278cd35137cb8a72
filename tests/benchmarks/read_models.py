"""Read models: how fast they catch up, and how soon they show.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.read_models [--quick]`. Ours and the
library's are measured in turn, on each engine, and the ratio is that of the same round.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from tests.databases import fresh_ledger, make_template, running_server
from tests.projections.telling import everything

from .figures import Goal, line, told
from .following import catching_up, library
from .generated_log import generate

LARGE = 100_000
REPEATS = 5
SHARE = 10
"""The library gets so much less to do: at its pace all of it would take minutes."""
VISIBLE_MS = 3.0
GOALS = (
    Goal("PostgreSQL", "ProjectionRunner", 30),
    Goal("SQLite", "library, row by row", 20),
)


def main(large: int) -> None:
    """Print each part."""
    # As in a server: the collector does not look at all that is imported, neither for us nor for
    # the library.
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        make_template(server)
        rates: defaultdict[str, list[float]] = defaultdict(list)
        with fresh_ledger(server) as long, fresh_ledger(server) as short:
            catching_up.fill(long, large)
            head = catching_up.fill(short, large // SHARE)
            ledger = Path(folder) / "ledger.db"
            generate(ledger, large)
            events = list(SqliteReader(Readers(ledger)).scan(upto=large // SHARE))
            for n in range(REPEATS):
                rates["PostgreSQL"].append(asyncio.run(catching_up.on_postgres(long)))
                rates["ProjectionRunner"].append(library.on_postgres(short, head))
                views, theirs = Path(folder) / f"views-{n}.db", Path(folder) / f"peer-{n}.db"
                rates["SQLite"].append(asyncio.run(catching_up.on_sqlite(ledger, views)))
                rates["library, row by row"].append(library.on_sqlite(theirs, events))
        told(rates, "events/s", GOALS)
        print()
        taken: defaultdict[str, list[float]] = defaultdict(list)
        for n in range(REPEATS):
            with fresh_ledger(server) as url:
                asyncio.run(take_visible(url, Path(folder) / f"store-{n}", taken))
        show_visible(taken)


async def take_visible(url: str, folder: Path, taken: dict[str, list[float]]) -> None:
    """Note how many milliseconds after its append began each event is in the rows."""
    story = await everything()
    events = await story.ledger.page(after=0, limit=10_000)
    taken["SQLite"] += await catching_up.visible_on_sqlite(folder, events)
    taken["PostgreSQL"] += await catching_up.visible_on_postgres(url, events)


def show_visible(taken: dict[str, list[float]]) -> None:
    """Print the quantiles over all rounds, the first event of each included."""
    for name, milliseconds in taken.items():
        cuts = statistics.quantiles(milliseconds, n=100)
        print(f"appended -> visible, {name}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
        print(line(f"visible p99 ms, {name}", "1 ms", cuts[98], VISIBLE_MS, most=True))


if __name__ == "__main__":
    main(10_000 if "--quick" in sys.argv else LARGE)
