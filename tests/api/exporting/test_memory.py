"""Exports in constant memory: what a server holds does not grow with what it sends."""

from pathlib import Path

import pytest

from tests.benchmarks.exporting.asking import served
from tests.benchmarks.exporting.logs import fill_folder
from tests.benchmarks.generated_log import rows

EVENTS = 60_000
MEGABYTES = 16
"""The bodies together are four times as large."""


@pytest.mark.parametrize("made", ["ndjson", "csv"])
def test_a_large_export_takes_hardly_more_memory_than_none(tmp_path: Path, made: str) -> None:
    data = tmp_path / "data"
    fill_folder(data, rows(EVENTS))
    with served(str(data)) as server:
        server.export(f"format={made}&until=10")
        before = server.most_megabytes
        assert server.export(f"format={made}") >= EVENTS
        assert server.most_megabytes - before < MEGABYTES
