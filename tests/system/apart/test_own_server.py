"""`up --postgres`: the server that it brings along comes and goes with it, and is found again."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipslog.adapters.store.postgres_server import PostgresServer
from shipslog.api.assembly import own_server

from ..crashing.conditions import soon
from ..documents import environment, pipeline
from ..installation import SHIPSLOG, define, deployed
from .cluster import SOON_SECONDS, Cluster

pytestmark = pytest.mark.system

UP = ("up", "--postgres", "--listen", "127.0.0.1:0")
LAB = pipeline("lab", {"name": "say", "run": ["echo", "said"]})


@pytest.fixture
def here() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="shipslog-own-") as folder:
        # Run by root, the server is nobody, who has to get in.
        Path(folder).chmod(0o711)
        here = Cluster("", Path(folder))
        del here.environment["SHIPSLOG_DATABASE_URL"]
        try:
            yield here
        finally:
            here.end()
            server(here).stop()


def server(here: Cluster) -> PostgresServer:
    return PostgresServer(here.data / "postgres")


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    process.communicate(timeout=SOON_SECONDS)
    return process.returncode


async def deploy(here: Cluster, version: str) -> None:
    async with here.client() as client:
        assert (await deployed(client, "lab", version, "staging"))["status"] == "succeeded"


async def test_it_deploys_and_leaves_no_server_behind_but_its_data(here: Cluster) -> None:
    up = here.start(*UP)
    async with here.client() as client:
        await define(client, environment("staging"), LAB)
    await deploy(here, "1.0.0")
    refused = here.run(*UP)
    assert refused.returncode == 5
    assert "Another process has the store" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert server(here).pid
    assert end(up) == 0
    assert server(here).pid is None
    # Without it the ledger is read all the same, and its server runs only as long as that takes.
    history = here.run("verify", "--json")
    assert history.returncode == 0, history.stderr
    assert server(here).pid is None
    up = here.start(*UP)
    await deploy(here, "2.0.0")
    assert end(up, signal.SIGINT) == 0
    assert server(here).pid is None


async def test_a_server_that_a_killed_one_left_behind_is_found(here: Cluster) -> None:
    up = here.start(*UP)
    async with here.client() as client:
        await define(client, environment("staging"), LAB)
    await deploy(here, "1.0.0")
    assert end(up, signal.SIGKILL) == -signal.SIGKILL
    left = server(here).pid
    assert left
    checked = here.run("db", "check")
    assert checked.returncode == 0, checked.stderr
    assert server(here).pid == left
    up = here.start(*UP)
    assert server(here).pid not in {None, left}
    await deploy(here, "2.0.0")
    assert end(up) == 0
    assert server(here).pid is None


def test_one_that_is_told_to_end_while_it_begins_leaves_no_server(here: Cluster) -> None:
    with (here.folder / "up.log").open("w") as log:
        up = subprocess.Popen(
            [SHIPSLOG, *UP], env=here.environment, stdout=subprocess.DEVNULL, stderr=log
        )
    folders = here.data / "postgres.new", here.data / "postgres"
    assert soon(lambda: any(folder.exists() for folder in folders), SOON_SECONDS)
    up.terminate()
    assert up.wait(timeout=SOON_SECONDS) == 0
    assert server(here).pid is None
    assert "Traceback" not in (here.folder / "up.log").read_text()
    assert end(here.start(*UP)) == 0


def test_what_the_server_says_is_bounded(tmp_path: Path) -> None:
    told = PostgresServer(tmp_path)
    own_server.shorten(told)
    told.log.write_bytes(b"." * own_server.MOST_LOG_BYTES)
    own_server.shorten(told)
    assert told.log.stat().st_size == own_server.MOST_LOG_BYTES
    with told.log.open("ab") as appending:
        appending.write(b".")
        appending.flush()
        own_server.shorten(told)
        assert told.log.stat().st_size == 0
        appending.write(b"and on")
    assert told.log.read_bytes() == b"and on"


def test_a_folder_that_nobody_may_enter_is_one_sentence(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root has to give its folder to somebody else")
    tmp_path.chmod(0o700)
    here = Cluster("", tmp_path)
    del here.environment["SHIPSLOG_DATABASE_URL"]
    refused = here.run(*UP)
    assert refused.returncode == 1
    assert "its data must lie where nobody" in refused.stderr
    assert "Traceback" not in refused.stderr
