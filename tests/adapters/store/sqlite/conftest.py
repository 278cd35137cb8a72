"""A data folder, a clock, and a store open in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore

from ..making import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path, clock: HandClock) -> Iterator[SqliteStore]:
    store = SqliteStore.open(data, clock)
    yield store
    store.close()
