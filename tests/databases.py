"""PostgreSQL for tests: one server a session, one database a test, made from a template."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from shipslog.adapters.store.postgres.schema import create
from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.projections import READ_MODELS
from shipslog.projections.follower.postgres.migrations import migrate

TEMPLATE = "template_of_ledgers"
FIFTEEN = Path("/usr/lib/postgresql/15/bin")
"""Where Debian keeps the programs of the oldest version that we work with."""
SMALL = {"shared_buffers": "64MB", "max_wal_size": "4GB", "autovacuum_naptime": "5s"}

_numbers = count()


@contextmanager
def running_server(programs: Path | None = None, /, **settings: str) -> Generator[PostgresServer]:
    """Give a server over an empty data folder, flushing as one must unless told otherwise."""
    with tempfile.TemporaryDirectory(prefix="shipslog-postgres-") as folder:
        # Run by root, the server is nobody, who has to get in.
        Path(folder).chmod(0o711)
        with PostgresServer(Path(folder) / "data", SMALL | settings, programs) as server:
            yield server


def make_template(server: PostgresServer) -> None:
    """Make the database that `fresh_ledger` copies."""
    administer(server, f"CREATE DATABASE {TEMPLATE}")
    create(server.url(TEMPLATE))
    migrate(server.url(TEMPLATE), READ_MODELS)


@contextmanager
def fresh_ledger(server: PostgresServer) -> Generator[str]:
    """Give the URL of a database of its own, with an empty ledger and empty read models in it."""
    name = f"ledger_{next(_numbers)}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    try:
        yield server.url(name)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def administer(server: PostgresServer, statement: str) -> None:
    """Carry out a statement of the server's administrator."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statement.encode())


def carry_out(url: str, statement: str) -> int:
    """Carry out a statement of a ledger's owner, in its schema; return how many rows it met."""
    with psycopg.connect(url, options="-c search_path=shipslog", autocommit=True) as connection:
        return connection.execute(statement.encode()).rowcount
