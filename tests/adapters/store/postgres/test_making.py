"""Making a ledger: what is cut off at whatever statement leaves nothing, and the next one makes it.

F38. `SHIPSLOG_TEST_MOMENTS=all`: at every statement that changes the schema, not at some.
"""

import os
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest

from shipslog.adapters.store.errors import StoreUnreachableError
from shipslog.adapters.store.postgres.schema import check, create
from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import administer

DATABASE = "cut_off"
STEP = 1 if os.environ.get("SHIPSLOG_TEST_MOMENTS") == "all" else 5
CUTTING = """
CREATE TABLE public.moment (at bigint);
INSERT INTO public.moment VALUES (0);
CREATE SEQUENCE public.passed;
CREATE FUNCTION public.cut_off() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.passed') = (SELECT at FROM public.moment) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
END $$;
CREATE EVENT TRIGGER cut_off ON ddl_command_end EXECUTE FUNCTION public.cut_off();
"""


@pytest.fixture
def unmade(server: PostgresServer) -> Iterator[str]:
    administer(server, f"CREATE DATABASE {DATABASE}")
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        connection.execute(CUTTING.encode())
    yield server.url(DATABASE)
    administer(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")


async def test_what_is_cut_off_at_any_statement_is_made_whole_by_the_next(unmade: str) -> None:
    cut_off = 0
    for moment in count(1, STEP):
        arm(unmade, moment)
        try:
            create(unmade)
        except StoreUnreachableError:
            cut_off += 1
            assert made(unmade) == 0
        else:
            break
    assert cut_off > 5
    assert made(unmade) > 0
    assert await check(unmade) == []


def arm(url: str, moment: int) -> None:
    """Let the connection be ended that changes the schema for the so-manieth time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT setval('public.passed', 1, false)")
        connection.execute("UPDATE public.moment SET at = %s", (moment,))


def made(url: str) -> int:
    """Return how many tables there are in the ledger's schema."""
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'shipslog'"
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
