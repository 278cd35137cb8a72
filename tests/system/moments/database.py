"""What one moment has left behind in a database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.adapters.store.rows import Row
from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.follower.postgres import PostgresViews
from shipslog.projections.replay import check

from ..crashing.conditions import soon
from ..crashing.documents import JOURNALS
from ..crashing.evidence import Evidence

END_SECONDS = 60.0
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND client_port IS NOT NULL AND pid <> pg_backend_pid()
"""


class Database(Evidence):
    """A ledger on PostgreSQL, and its read models, which nobody writes to any more."""

    def __init__(self, folder: Path, url: str) -> None:
        self._url = url
        with psycopg.connect(url, autocommit=True) as look:
            # What a killed process had under way there ends by itself, one way or the other.
            assert soon(lambda: look.execute(_OTHERS).fetchone() == (0,), END_SECONDS)
        journals = {name: folder / name for name in JOURNALS}
        log, self.damage = asyncio.run(_read(url))
        super().__init__(log, journals)

    def faults_since(self, before: Sequence[Row]) -> list[str]:
        """Return everything that does not hold; rows that were, the database keeps itself."""
        del before
        return [*self.damage, *self.faults(), *self._views_differ()]

    def _views_differ(self) -> Iterator[str]:
        views = PostgresViews(self._url, READ_MODELS)
        try:
            for difference in check(self.log, views):
                yield f"I34: {difference}"
        finally:
            views.close()


async def _read(url: str) -> tuple[list[Recorded], list[str]]:
    archive = await PostgresStore.read_only(url)
    try:
        return list(archive.log.scan()), [str(finding) for finding in archive.log.verify()]
    finally:
        await archive.close()
