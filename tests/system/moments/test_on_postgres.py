"""Killed at every boundary that a deployment passes, on PostgreSQL (F1, F2, F3, F5).

`SHIPSLOG_TEST_MOMENTS=all` takes them all, a number so many of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import fresh_ledger, make_template, running_server

from ..installation import Installation
from .database import Database
from .test_moments import die_at_all

MOMENTS = os.environ.get("SHIPSLOG_TEST_MOMENTS") or "1"
LEASE = "2s"

pytestmark = pytest.mark.system


@pytest.fixture
def url() -> Iterator[str]:
    with running_server() as server:
        make_template(server)
        with fresh_ledger(server) as url:
            yield url


async def test_whatever_boundary_a_server_dies_at_the_next_one_goes_on(
    tmp_path: Path, url: str
) -> None:
    here = Installation(tmp_path)
    here.environment |= {"SHIPSLOG_DATABASE_URL": url, "SHIPSLOG_LEASE": LEASE}
    await die_at_all(here, tmp_path, lambda _: Database(tmp_path, url), MOMENTS)
