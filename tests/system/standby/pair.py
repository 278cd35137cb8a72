# pyright: reportPrivateUsage=false
"""A primary and its standby, each with a folder of its own; either may be stopped and promoted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import SMALL, administer

from ..crashing.conditions import soon

SOON_SECONDS = 60.0
NAME = "spare"
_STREAMING = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"


class Pair:
    """The standby is made by copying a stopped primary's folder."""

    def __init__(self, prepared: Path, folder: Path) -> None:
        self.primary = PostgresServer(folder / "primary", SMALL)
        self.standby = PostgresServer(folder / "standby", SMALL)
        for name in ("primary", "standby"):
            # It keeps whose the files are: run by root, the servers are nobody's.
            copied = ["cp", "-a", "--reflink=auto", str(prepared), str(folder / name)]
            subprocess.run(copied, check=True)
        self._standby = folder / "standby"

    def start(self, *, is_synchronous: bool) -> None:
        """Start both; a commit of the primary waits for a synchronous standby."""
        self.primary.start()
        if is_synchronous:
            self.set(self.primary, "synchronous_standby_names", NAME)
        where = urlsplit(self.primary.url())
        leads = (
            f"host=127.0.0.1 port={where.port} user={where.username}"
            f" password={where.password} application_name={NAME}"
        )
        with (self._standby / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{leads}'\n")
        signal = self._standby / "standby.signal"
        signal.touch()
        if os.geteuid() == 0:
            owner = self._standby.stat()
            os.chown(signal, owner.st_uid, owner.st_gid)
        self.standby.start()
        self.require_streaming()

    def require_streaming(self) -> None:
        """Wait until the standby receives what the primary writes."""
        with psycopg.connect(self.primary.url(), autocommit=True) as primary:
            assert soon(lambda: primary.execute(_STREAMING).fetchone(), SOON_SECONDS)

    def promote(self) -> None:
        """Make the standby, which runs, a primary of its own."""
        # Whoever waits for another standby would wait for ever.
        self.set(self.standby, "synchronous_standby_names", "")
        with psycopg.connect(self.standby.url(), autocommit=True) as standby:
            row = standby.execute("SELECT pg_promote(true, 60)").fetchone()
            assert row == (True,)

    def take_over(self) -> None:
        """Let the primary die, and the standby, which may have stood still, take its place."""
        self.primary.stop("immediate")
        if self.standby.pid is None:
            self.standby.start()
        self.promote()

    @staticmethod
    def set(server: PostgresServer, name: str, value: str) -> None:
        """Change a setting of a server that runs, for good."""
        administer(server, f"ALTER SYSTEM SET {name} = '{value}'")
        administer(server, "SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        """Return an address that leads to whichever of the two takes appends."""
        both = [urlsplit(server.url(database)) for server in (self.primary, self.standby)]
        hosts = ",".join(f"127.0.0.1:{where.port}" for where in both)
        user = both[0].netloc.rpartition("@")[0]
        return f"postgresql://{user}@{hosts}/{database}?target_session_attrs=read-write"

    def end(self) -> None:
        """Stop both at once."""
        self.standby.stop("immediate")
        self.primary.stop("immediate")


@contextmanager
def running(prepared: Path, folder: Path, *, is_synchronous: bool) -> Generator[Pair]:
    """Give a pair that streams."""
    pair = Pair(prepared, folder)
    try:
        pair.start(is_synchronous=is_synchronous)
        yield pair
    finally:
        pair.end()
