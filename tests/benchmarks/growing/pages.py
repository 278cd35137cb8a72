"""The read models of a log that deployments have written, at two sizes: pages, and the replay."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median

from shipslog.adapters.store.sqlite.connections import Readers
from shipslog.adapters.store.sqlite.reading import SqliteReader
from shipslog.projections import READ_MODELS, audit, deployments, history, targets
from shipslog.projections.follower import Page, SqliteViews, Views
from shipslog.projections.follower.postgres import PostgresViews
from shipslog.projections.replay import replay_all
from tests.benchmarks.exporting.logs import fill_database
from tests.benchmarks.following import catching_up
from tests.benchmarks.generated_log import Row, generate

PLACE = ("env-007", "web")
ROWS = "SELECT * FROM stored_events ORDER BY position"

Rates = dict[str, list[float]]


def on_sqlite(folder: Path, events: int) -> Views:
    """Return views of a new log of so many events, which stays in the folder."""
    ledger, views = ledger_of(folder, events), folder / f"views-{events}.db"
    generate(ledger, events)
    asyncio.run(catching_up.on_sqlite(ledger, views))
    return SqliteViews(views, READ_MODELS)


def on_postgres(folder: Path, events: int, url: str) -> Views:
    """Return views of the same log in a database."""
    fill_database(url, rows_of(ledger_of(folder, events)))
    asyncio.run(catching_up.on_postgres(url))
    return PostgresViews(url, READ_MODELS)


def ledger_of(folder: Path, events: int) -> Path:
    """Return the file of a log."""
    return folder / f"ledger-{events}.db"


def rows_of(ledger: Path) -> Iterator[Row]:
    """Yield a log's rows in order."""
    with closing(sqlite3.connect(ledger)) as connection:
        yield from connection.execute(ROWS)


def ask(engine: str, views: Mapping[int, Views], times: tuple[int, int], micros: Rates) -> None:
    """Ask the views of each size in turn: so many rounds, in each every page so often."""
    pages = {size: questions(one) for size, one in views.items()}
    rounds, often = times
    for _ in range(rounds):
        for what in pages[min(pages)]:
            found = timed({size: asked[what] for size, asked in pages.items()}, often)
            for size, taken in found.items():
                micros[f"{what}, {engine}, at {size:,}"].append(taken)


def replay(folder: Path, sizes: tuple[int, int], rounds: int, micros: Rates) -> None:
    """Fold each log in turn; processor time an event."""
    for _ in range(rounds):
        for size in sizes:
            reader = SqliteReader(Readers(ledger_of(folder, size)))
            began = time.process_time()
            events = replay_all(reader.scan()).position
            micros[f"replay, an event, at {size:,}"].append(
                (time.process_time() - began) / events * 1e6
            )


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


def timed(asked: Mapping[int, Callable[[], object]], often: int) -> dict[int, float]:
    """Return the median microseconds of one question at each size, asked by turns."""
    taken = {size: list[float]() for size in asked}
    for _ in range(often):
        for size, question in asked.items():
            began = time.perf_counter()
            question()
            taken[size].append(time.perf_counter() - began)
    return {size: median(some) * 1e6 for size, some in taken.items()}
