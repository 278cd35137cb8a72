"""A second one who would write beside a running server: it asks the server, or is refused (F20)."""

import asyncio
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest

from shipslog.api.verbs.asking import ExitCode

from ..installation import SHIPSLOG, Installation, free_address
from .asking import Desk, Reply, Request, desk, faults_of, log_of

READING = (("verify",),)
WRITING = (("token", "create", "bob", "--role", "viewer"), ("up",))
BUSY = "Another process has the store"
FILES = ("ledger.db", "ledger.db-wal", "views.db", "views.db-wal")
CHANGING = "pwrite64,write,ftruncate,fdatasync,fsync,unlink"
PATIENCE = 300

pytestmark = pytest.mark.system


class Neighbour:
    """A user of the same data folder whose configuration names no server that runs."""

    def __init__(self, here: Installation, folder: Path) -> None:
        configuration = folder / "shipslog"
        configuration.mkdir()
        # Bound and not listened at: nobody is there, and nobody else can come.
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{self._nobody.getsockname()[1]}"
        (configuration / "config.toml").write_text(f'url = "{url}"\ntoken = "none"\n')
        self._environment = here.environment | {"XDG_CONFIG_HOME": str(folder)}
        self._folder, self._data = folder, here.data

    async def run(self, *verb: str) -> subprocess.CompletedProcess[str]:
        """Run a verb; what it changes on the disk is noted."""
        tracing = ["strace", "-f", "-qq", "-y", "-o", str(self._calls(verb[0]))]
        tracing += ["-e", f"trace={CHANGING}", "--seccomp-bpf", SHIPSLOG]
        if verb == ("up",):
            verb += ("--listen", free_address())
        return await asyncio.to_thread(
            subprocess.run,
            [*tracing, *verb],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nobody.close()

    def changes(self, verb: str) -> list[str]:
        """Return what a verb has changed of the files that are the server's."""
        lines = self._calls(verb).read_text(errors="replace").splitlines()
        return [line for line in lines if any(f"{self._data / file}>" in line for file in FILES)]

    def _calls(self, verb: str) -> Path:
        return self._folder / f"{verb}.calls"


async def test_beside_a_server_nobody_else_writes(here: Installation, tmp_path: Path) -> None:
    # F20
    if not shutil.which("strace"):
        pytest.skip("strace is not installed; scripts/test --install fetches it")
    replies: list[Reply] = []
    with Neighbour(here, tmp_path) as neighbour:
        await beside(here, neighbour, replies)
    log = log_of(here.data)
    assert replies
    stored = {event.position for event in log if event.header.topic == "pipeline.defined"}
    assert stored >= {int(reply.position or 0) for reply in replies}
    assert not faults_of(here.data)


async def beside(here: Installation, neighbour: Neighbour, replies: list[Reply]) -> None:
    """Let the neighbour try everything while the server is asked."""
    async with desk(here) as people:
        asking = asyncio.create_task(ask_on(people, replies))
        ended = await asyncio.gather(*(neighbour.run(*verb) for verb in (*READING, *WRITING)))
        asked = await asyncio.to_thread(here.run, *WRITING[0])
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    read, refused = ended[: len(READING)], ended[len(READING) :]
    assert [one.returncode for one in read] == [ExitCode.DONE] * len(READING)
    assert [one.returncode for one in refused] == [ExitCode.CONFLICT] * len(WRITING)
    assert all(BUSY in one.stderr for one in refused)
    # Where the server can be asked, it is the server that writes.
    assert asked.returncode == ExitCode.DONE
    assert not [line for verb in (*READING, *WRITING) for line in neighbour.changes(verb[0])]


async def ask_on(people: Desk, replies: list[Reply]) -> None:
    """Define pipelines until cancelled, and keep every acknowledgement."""
    mark = secrets.token_hex(4)
    stages = {"stages": [{"name": "rest", "wait": "1s"}]}
    for number in range(1_000_000):
        name = f"{mark}-{number}"
        reply = await people.send(Request("PUT", f"/v1/pipelines/{name}", stages, name))
        assert reply.status == 201
        replies.append(reply)
        await asyncio.sleep(0.01)
