"""`db` on PostgreSQL: what it makes, what it finds wrong, what it says; and no password."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.databases import administer

from ..documents import environment, pipeline
from ..installation import define, deployed
from .cluster import Cluster

pytestmark = pytest.mark.system


@pytest.fixture
def empty(server: PostgresServer, tmp_path: Path) -> Iterator[Cluster]:
    administer(server, "CREATE DATABASE empty")
    try:
        yield Cluster(server.url("empty"), tmp_path)
    finally:
        administer(server, "DROP DATABASE empty WITH (FORCE)")


def test_a_database_is_made_into_a_ledger_once(empty: Cluster) -> None:
    refused = empty.run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert refused.stderr == (
        "shipslog: There is no ledger in the database; `shipslog db create` makes one.\n"
    )
    first, again = (empty.run("db", "create", "--json") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    status = json.loads(empty.run("db", "status", "--json").stdout)
    assert (status["position"], status["views_position"], status["views_fit"]) == (0, 0, True)
    assert json.loads(empty.run("db", "check", "--json").stdout) == {"findings": []}
    assert empty.run("db", "upgrade").returncode == 0
    password = empty.url.split(":")[2].partition("@")[0]
    assert password not in first.stdout + first.stderr + json.dumps(status)


def test_a_database_that_lets_history_be_changed_is_found_out(cluster: Cluster) -> None:
    cluster.write("ALTER TABLE stored_events DISABLE TRIGGER events_neither_change_nor_go")
    cluster.write("GRANT UPDATE ON commands TO shipslog_app")
    cluster.write("ALTER TABLE views.progress ADD COLUMN more bigint")
    checked = cluster.run("db", "check")
    assert checked.returncode == 1
    assert "the trigger events_neither_change_nor_go of stored_events is off" in checked.stdout
    assert "the role shipslog_app has UPDATE on commands" in checked.stdout
    assert "more" in checked.stdout
    assert "3 findings" in checked.stderr


async def test_those_who_serve_and_work_own_nothing(server: PostgresServer, tmp_path: Path) -> None:
    for statement in ROLES:
        administer(server, statement)
    address = server.url("roles").rpartition("@")[2]
    owner = Cluster(f"postgresql://ledger_owner:owner@{address}", tmp_path)
    here = Cluster(f"postgresql://ledger_server:server@{address}", tmp_path)
    try:
        refused = here.run("db", "create")
        assert refused.returncode == 1
        assert "permission denied" in refused.stderr
        made = owner.run("db", "create")
        assert made.returncode == 0, made.stderr
        here.start_all(1)
        async with here.client() as client:
            await define(client, environment("staging"), LAB)
            assert (await deployed(client, "lab", "1.0.0", "staging"))["status"] == "succeeded"
        for verb in (("rebuild",), ("replay", "--check"), ("db", "check"), ("db", "status")):
            ran = here.run(*verb)
            assert ran.returncode == 0, ran.stderr
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            here.write("UPDATE stored_events SET topic = 'x'")
    finally:
        here.end()
        administer(server, "DROP DATABASE roles WITH (FORCE)")


ROLES = (
    "CREATE ROLE ledger_owner LOGIN PASSWORD 'owner'",
    "CREATE ROLE ledger_server LOGIN PASSWORD 'server' IN ROLE shipslog_app",
    "GRANT shipslog_app TO ledger_owner",
    "CREATE DATABASE roles OWNER ledger_owner",
)
LAB = pipeline("lab", {"name": "say", "run": ["echo", "said"]})
