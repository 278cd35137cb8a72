"""How fast the read models catch up, and whether their pages slow down as the log grows.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.read_models [EVENTS]`.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.projections import READ_MODELS, audit, deployments, history, targets
from shipslog.projections.follower import Page, Projector, SqliteViews, Views

from .generated_log import generate

SMALL, LARGE = 1_000, 100_000
ROUNDS = 300
PLACE = ("env-007", "web")


def main(large: int) -> None:
    """Print the speed of catching up and the medians of each page at both sizes."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (caught_up(Path(folder), events) for events in (SMALL, large))
        print(f"{'page, median us':<22}{SMALL:>12,}{large:>12,}{'ratio':>8}")
        for name in questions(few):
            before, after = median(questions(few)[name]), median(questions(many)[name])
            print(f"{name:<22}{before:>12.0f}{after:>12.0f}{after / before:>8.2f}")
        few.close()
        many.close()


def caught_up(folder: Path, events: int) -> Views:
    """Return views of a new log of so many events; print how fast they caught up."""
    path = folder / f"ledger-{events}.db"
    generate(path, events)
    views = SqliteViews(folder / f"views-{events}.db", READ_MODELS)
    asyncio.run(catch_up(path, views))
    return views


async def catch_up(path: Path, views: Views) -> None:
    """Follow a log to its head."""
    projector = Projector(SqliteReader(Readers(path)), views)
    await projector.open()
    began = time.perf_counter()
    position = await projector.catch_up()
    seconds = time.perf_counter() - began
    print(f"caught up {position:>9,} events at {position / seconds:>8,.0f}/s")
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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else LARGE)
