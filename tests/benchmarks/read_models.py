"""Read models: how fast they catch up, how soon they show, and whether their pages slow down.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.read_models [--quick]`. Ours and the
library's are measured in turn, on each engine, and the ratio is that of the same round.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.projections import READ_MODELS, audit, deployments, history, targets
from shipslog.projections.follower import Page, Projector, SqliteViews, Views
from tests.databases import fresh_ledger, make_template, running_server
from tests.projections.telling import everything

from .figures import Goal, line, told
from .following import catching_up, library
from .generated_log import generate

SMALL, LARGE = 1_000, 100_000
ROUNDS = 300
REPEATS = 5
SHARE = 10
"""The library gets so much less to do: at its pace all of it would take minutes."""
VISIBLE_MS = 3.0
PLACE = ("env-007", "web")
GOALS = (
    Goal("PostgreSQL", "ProjectionRunner", 30),
    Goal("SQLite", "library, row by row", 20),
)


def main(large: int) -> None:
    """Print each part."""
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
        with fresh_ledger(server) as url:
            asyncio.run(show_visible(url, Path(folder)))
        print()
        show_pages(Path(folder), large)


async def show_visible(url: str, folder: Path) -> None:
    """Print how long after its append began an event is in the rows."""
    story = await everything()
    events = await story.ledger.page(after=0, limit=10_000)
    for name, taken in (
        ("SQLite", await catching_up.visible_on_sqlite(folder / "store", events)),
        ("PostgreSQL", await catching_up.visible_on_postgres(url, events)),
    ):
        cuts = statistics.quantiles(taken, n=100)
        print(f"appended -> visible, {name}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
        print(line(f"visible p99 ms, {name}", "1 ms", cuts[98], VISIBLE_MS, most=True))


def show_pages(folder: Path, large: int) -> None:
    """Print the medians of each page at both sizes."""
    few, many = (caught_up(folder, events) for events in (SMALL, large))
    print(f"{'page, median us':<22}{SMALL:>12,}{large:>12,}{'ratio':>8}")
    for name in questions(few):
        before, after = median(questions(few)[name]), median(questions(many)[name])
        print(f"{name:<22}{before:>12.0f}{after:>12.0f}{after / before:>8.2f}")
    few.close()
    many.close()


def caught_up(folder: Path, events: int) -> Views:
    """Return views of a new log of so many events."""
    path = folder / f"ledger-{events}.db"
    generate(path, events)
    views = SqliteViews(folder / f"views-{events}.db", READ_MODELS)
    asyncio.run(catch_up(path, views))
    return views


async def catch_up(path: Path, views: Views) -> None:
    """Follow a log to its head."""
    projector = Projector(SqliteReader(Readers(path)), views)
    await projector.open()
    await projector.catch_up()
    await projector.close()


def questions(views: Views) -> dict[str, Callable[[], object]]:
    """Return what is asked of views, by name."""
    environment, service = PLACE
    with views.reading() as db:
        some = deployments.listed(db, deployments.Filters(), Page(1)).items[0].id

    def asked(question: Callable[..., object], *values: object) -> Callable[[], object]:
        def ask() -> object:
            with views.reading() as db:
                return question(db, *values)

        return ask

    running = deployments.Filters(status="running", environment=environment)
    return {
        "status": asked(deployments.get, some),
        "target": asked(targets.get, *PLACE),
        "history of a target": asked(history.listed, environment, service, Page(3)),
        "newest deployments": asked(deployments.listed, deployments.Filters(), Page(20)),
        "running somewhere": asked(deployments.listed, running, Page(20)),
        "audit of a topic": asked(audit.listed, audit.Filters(topic="target."), Page(20)),
    }


def median(ask: Callable[[], object]) -> float:
    """Return the median time of a question in microseconds."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


if __name__ == "__main__":
    main(10_000 if "--quick" in sys.argv else LARGE)
