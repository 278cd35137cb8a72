"""A store with a log to export."""

from pathlib import Path

import pytest

from tests.benchmarks.exporting.logs import fill_folder
from tests.benchmarks.generated_log import rows


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a log of some hundred events, which nobody changes."""
    data = tmp_path_factory.mktemp("told") / "data"
    fill_folder(data, rows(300))
    return data
