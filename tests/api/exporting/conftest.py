"""A store with a log to export, and the command line beside it."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore
from tests.benchmarks.generated_log import Row, rows

INSERT = "INSERT INTO stored_events VALUES (?, ?, ?, ?, ?)"


def fill(data: Path, events: Iterable[Row]) -> None:
    """Make a store of events that nobody has to append one after the other."""
    SqliteStore.open(data).close()
    with closing(sqlite3.connect(data / "ledger.db")) as connection:
        connection.executemany(INSERT, events)
        connection.commit()


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a log of some hundred events, which nobody changes."""
    data = tmp_path_factory.mktemp("told") / "data"
    fill(data, rows(300))
    return data
