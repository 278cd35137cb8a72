"""The database itself refuses to forget, whoever asks; processes can only add events."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from shipslog.adapters.store.errors import (
    ForgetfulServerError,
    NewerLedgerError,
    NoLedgerError,
    UnusableLedgerError,
)
from shipslog.adapters.store.postgres.schema import create
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import administer, carry_out

from ..making import appending, command, draft, one

ADD = """
INSERT INTO stored_events (position, originator_id, originator_version, topic, recorded_at, state)
SELECT at, 'a', at, 'test.happened', now(), 'x' FROM unnest(ARRAY[{}]) AS at
"""


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[str]:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("a", 1), draft("a", 2)))
    await store.blobs.put(b"printed")
    await store.close()
    yield database
    store = await PostgresStore.open(database)
    assert len(await store.log.page(after=0, limit=10)) == 2
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET topic = 'x'",
        "UPDATE stored_events SET state = state WHERE position = 2",
        "DELETE FROM stored_events WHERE position = 2",
        "TRUNCATE stored_events",
        "UPDATE commands SET last = 9",
        "DELETE FROM commands",
        "TRUNCATE commands",
        "UPDATE blobs SET bytes = ''",
        ADD.format(4),
        ADD.format("3, 5"),
        ADD.format("4, 5"),
        ADD.format("-1"),
        ADD.format("0"),
        ADD.format("2"),
        ADD.format("3").replace("'a', at", "'a', 2"),
    ],
)
def test_not_even_the_owner_rewrites_history(ledger: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        carry_out(ledger, statement)


@pytest.mark.parametrize("table", ["stored_events", "commands", "blobs"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_a_process_may_not_even_ask(ledger: str, table: str, verb: str) -> None:
    column = {"stored_events": "topic", "commands": "sha256", "blobs": "bytes"}[table]
    statement = verb.format(table).replace("id = id", f"{column} = {column}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        carry_out(ledger, f"SET ROLE shipslog_app; {statement}")


def test_only_a_ledger_is_opened(server: PostgresServer) -> None:
    administer(server, "CREATE DATABASE bare")
    try:
        with pytest.raises(NoLedgerError):
            asyncio.run(PostgresStore.open(server.url("bare")))
        create(server.url("bare"))
        create(server.url("bare"))
        asyncio.run(opened_and_closed(server.url("bare")))
    finally:
        administer(server, "DROP DATABASE bare WITH (FORCE)")


@pytest.mark.parametrize(("version", "error"), [(2, UnusableLedgerError), (4, NewerLedgerError)])
def test_a_ledger_of_another_version_is_not_opened(
    database: str, version: int, error: type[Exception]
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE shipslog.meta SET value = %s", (version,))
    with pytest.raises(error):
        asyncio.run(PostgresStore.open(database))


def test_a_server_that_forgets_is_refused(server: PostgresServer, database: str) -> None:
    try:
        set_fsync(server, "off")
        with pytest.raises(ForgetfulServerError, match="fsync"):
            asyncio.run(opened_and_closed(database))
    finally:
        set_fsync(server, "on")
    asyncio.run(opened_and_closed(database))


async def opened_and_closed(url: str) -> None:
    await (await PostgresStore.open(url)).close()


def set_fsync(server: PostgresServer, value: str) -> None:
    administer(server, f"ALTER SYSTEM SET fsync = {value}")
    administer(server, "SELECT pg_reload_conf()")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        while connection.execute("SHOW fsync").fetchone() != (value,):
            connection.execute("SELECT pg_sleep(0.01)")


async def test_a_name_that_postgres_cannot_hold_is_refused_alone(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    outcomes = await asyncio.gather(
        store.log.append(one("a", 1)),
        store.log.append(one("b\0", 1)),
        store.log.append(one("c\udc80", 1, command=command("c"))),
        store.log.append(one("d", 1)),
        return_exceptions=True,
    )
    assert [getattr(outcomes[n], "last", outcomes[n]) for n in (0, 3)] == [1, 2]
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], ValueError)
    await store.close()
