"""A cluster: one server and any number of workers over one database and one data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import tomllib
from pathlib import Path

import psycopg

from shipslog.api.client import Client
from shipslog.api.user_config import Server
from shipslog.domain.event import Recorded, decode
from tests.databases import carry_out

from ..crashing.conditions import soon
from ..installation import ROOT, SHIPSLOG

READY_SECONDS, END_SECONDS, SOON_SECONDS = 60.0, 60.0, 60.0
LEASE_SECONDS = 3
STOPPED = "T"


class Cluster:
    """Processes that share a database; each may be stopped, killed and started again."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.data = url, folder, folder / "data"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SHIPSLOG_")}
        self.environment = kept | {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SHIPSLOG_DATA": str(self.data),
            "SHIPSLOG_DATABASE_URL": url,
            "SHIPSLOG_LEASE": f"{LEASE_SECONDS}s",
            "SHIPSLOG_ROOTS": f"{ROOT}{os.pathsep}{folder}",
        }
        self.program = [SHIPSLOG]
        """What runs the verbs of processes."""
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *verb: str) -> subprocess.Popen[str]:
        """Start a process and wait until it says what it is."""
        with (self.folder / f"{verb[0]}.log").open("a") as log:
            process = subprocess.Popen(
                [*self.program, *verb],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        too_late = threading.Timer(READY_SECONDS, process.kill)
        too_late.start()
        assert process.stdout
        said = process.stdout.readline()
        too_late.cancel()
        assert said, self.said(verb[0])
        return process

    def start_all(self, workers: int) -> list[subprocess.Popen[str]]:
        """Start a server and so many workers, and return the workers."""
        self.start("serve", "--listen", "127.0.0.1:0")
        return [self.start("worker") for _ in range(workers)]

    def end(self) -> None:
        """End everything, the agent with all that it keeps included."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        if (self.data / "agent").exists():
            self.run("agent", "--stop")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line."""
        return subprocess.run(
            [SHIPSLOG, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def client(self) -> Client:
        """Return a client with the administrator's token, to be used as a context."""
        stored = tomllib.loads((self.folder / "config/shipslog/config.toml").read_text())
        return Client(Server(stored["url"], stored["token"]))

    def said(self, verb: str) -> str:
        """Return what the processes of a verb have said."""
        return (self.folder / f"{verb}.log").read_text()

    def owner(self, deployment: str) -> subprocess.Popen[str]:
        """Return the worker that has a deployment, as soon as one has it."""
        query = "SELECT owner FROM shipslog.work WHERE stream = %s AND owner IS NOT NULL"
        found: list[str] = []

        def is_owned() -> bool:
            with psycopg.connect(self.url) as connection:
                row = connection.execute(query, (f"deployment:{deployment}",)).fetchone()
            found.extend(row or ())
            return row is not None

        assert soon(is_owned, SOON_SECONDS)
        pid = int(found[-1].rpartition(":")[2])
        return next(process for process in self.processes if process.pid == pid)

    def log(self) -> list[Recorded]:
        """Return every event."""
        query = "SELECT position, state FROM shipslog.stored_events ORDER BY position"
        with psycopg.connect(self.url) as connection:
            return [decode(position, state) for position, state in connection.execute(query)]

    def write(self, statement: str) -> int:
        """Carry out a statement as the owner of the database; return how many rows it met."""
        return carry_out(self.url, statement)


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a process where it is, and return once it stands still."""
    process.send_signal(signal.SIGSTOP)
    path = Path(f"/proc/{process.pid}/stat")
    assert soon(lambda: path.read_text().rpartition(") ")[2].startswith(STOPPED), SOON_SECONDS)
