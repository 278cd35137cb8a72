"""The verb export: from a store or a server, to a file or a pipe, and how it ends."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.access import Role
from tests.api.http.served import Served, serve
from tests.api.run_cli import Ran, run_here
from tests.benchmarks.exporting.logs import fill_database
from tests.databases import fresh_ledger, make_template, running_server


def export(data: Path, *arguments: str, **environ: str) -> Ran:
    home = {"PATH": "/usr/bin:/bin", "HOME": str(data.parent), "SHIPSLOG_DATA": str(data)}
    return run_here(["export", *arguments], home | environ)


@pytest.fixture(scope="module")
def ledger(told: Path) -> Iterator[str]:
    """Return the URL of a ledger with the same log as the data folder, byte for byte."""
    archive = SqliteStore.read_only(told)
    with running_server() as server:
        make_template(server)
        with fresh_ledger(server) as url:
            fill_database(url, archive.log.rows())
            yield url
    archive.close()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("made", ["ndjson", "csv"])
def test_a_file_and_its_manifest_fit(told: Path, tmp_path: Path, made: str) -> None:
    file = tmp_path / f"out.{made}"
    ran = export(told, "--format", made, "-o", str(file), "--json")
    assert ran.code == 0, ran.err
    manifest = json.loads(ran.out)
    assert manifest == json.loads((tmp_path / f"{file.name}.manifest.json").read_text())
    assert manifest["content"]["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert manifest["made"]["by"] is None
    assert names(tmp_path) == [file.name, f"{file.name}.manifest.json"]
    checked = export(told, "--check", str(file), f"{file}.manifest.json")
    assert (checked.code, checked.out) == (0, "")
    assert "as the manifest says" in checked.err


def test_what_does_not_fit_ends_with_1(told: Path, tmp_path: Path) -> None:
    file, manifest = tmp_path / "out", tmp_path / "said"
    assert export(told, "-o", str(file), "--manifest", str(manifest)).code == 0
    file.write_bytes(file.read_bytes().replace(b"env-001", b"env-002", 1))
    ran = export(told, "--check", str(file), str(manifest), "--json")
    assert ran.code == 1
    assert "sha256 of the content" in json.loads(ran.out)["faults"][0]["detail"]
    assert export(told, "--check", str(file), str(manifest)).code == 1
    assert export(told, "--check", str(file), str(file)).code == 2
    assert export(told, "--check", str(file), str(tmp_path / "none")).code == 1


def test_a_pipe_gets_the_same_bytes(told: Path, tmp_path: Path) -> None:
    file, manifest = tmp_path / "out", tmp_path / "said"
    query = ("--from", "10", "--until", "90", "--topic", "deployment.", "--service", "web")
    assert export(told, "-o", str(file), *query).code == 0
    ran = export(told, *query, "--manifest", str(manifest))
    assert ran.out == file.read_text()
    said = json.loads(manifest.read_text())
    assert (said["query"]["from"], said["query"]["topic"]) == (10, "deployment.")
    assert said["counts"] == {"events": 81, "matched": ran.out.count('"payload":"')}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume",),
        ("--json",),
        ("--from", "yesterday"),
        ("--from", "9", "--until", "7"),
        ("--format", "parquet"),
        ("--topic", "*"),
    ],
)
def test_what_says_nothing_is_refused(told: Path, tmp_path: Path, arguments: tuple[str]) -> None:
    ran = export(told, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("shipslog: ")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(told: Path, tmp_path: Path) -> None:
    assert export(told, "-o", str(tmp_path / "none" / "out")).code == 1


@pytest.mark.parametrize("query", [(), ("--environment", "env-003"), ("--from", "7")])
@pytest.mark.parametrize("made", ["ndjson", "csv"])
def test_both_engines_give_the_same_bytes(
    told: Path, ledger: str, made: str, query: tuple[str]
) -> None:
    here = export(told, "--format", made, *query)
    there = export(told, "--format", made, *query, SHIPSLOG_DATABASE_URL=ledger)
    assert there.code == 0, there.err
    assert there.out == here.out
    assert len(here.out.splitlines()) > 1


async def asked(served: Served, role: Role, *arguments: str) -> Ran:
    url = f"http://127.0.0.1:{served.port}"
    environ = {"SHIPSLOG_URL": url, "SHIPSLOG_TOKEN": served.tokens[role], "HOME": "/nonexistent"}
    return await asyncio.to_thread(run_here, ["export", *arguments], environ)


async def test_a_server_gives_what_its_store_has(tmp_path: Path) -> None:
    async with serve(tmp_path / "data") as served:
        await served.define()
        await served.deploy()
        file = tmp_path / "there.csv"
        query = ("--format", "csv", "--actor", "user:admin")
        ran = await asked(served, Role.AUDITOR, *query, "-o", str(file), "--json")
        assert ran.code == 0, ran.err
        manifest = json.loads(ran.out)
        assert manifest["made"]["by"] == served.subjects[Role.AUDITOR]
        assert manifest["query"]["actor"] == served.subjects[Role.ADMIN]
        here = await asyncio.to_thread(export, tmp_path / "data", *query)
        assert here.out.encode() == file.read_bytes()
        refused = await asked(served, Role.VIEWER, "-o", str(tmp_path / "not"))
        assert refused.code == 6
        assert names(tmp_path) == ["data", "there.csv", "there.csv.manifest.json"]


HANGING = """
import sys, time
from shipslog.api import cli
from shipslog.api.verbs.export import writing

def hang(*_):
    print("written", flush=True)
    time.sleep(1000)

writing._describe = hang
cli.run(["export", "-o", sys.argv[1]])
"""


def test_a_killed_export_leaves_nothing_that_looks_whole(told: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    command = [sys.executable, "-c", HANGING, str(file)]
    environ = os.environ | {"SHIPSLOG_DATA": str(told)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stdout.readline() == b"written\n"
        running.kill()
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part")
    part.write_bytes(part.read_bytes()[:-100_000])
    ran = export(told, "-o", str(file), "--resume", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["content"]["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert names(tmp_path) == ["out", "out.manifest.json"]
