"""A family: processes of one build over one database and one data folder, brought up quickly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any, Self

from shipslog.api.client import Client
from shipslog.api.user_config import Server

from ..apart.cluster import STOPPED, Cluster
from ..crashing.conditions import soon
from ..installation import ROOT

SOON_SECONDS = 60.0
LAST = 3000
Mark = dict[str, Any]


class Child:
    """A process: what it has said, and how it ended."""

    def __init__(self, pid: int, folder: Path, gone: dict[int, int]) -> None:
        self.pid = pid
        self._folder = folder
        self._gone = gone

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal that ended it; None while it lives."""
        return self._gone.get(self.pid)

    @property
    def name(self) -> str:
        """What it has said that it is: a server's address, a worker's name."""
        said = (self._folder / "out").read_text()
        return said.splitlines()[0].partition("\t")[2] if "\n" in said else ""

    @property
    def said(self) -> str:
        """What it has said since, as log lines."""
        return (self._folder / "err").read_text()

    @property
    def last_said(self) -> str:
        """The end of what it has said, for a failed test."""
        return self.said[-LAST:]

    def ready(self) -> Self:
        """Return it once it has said what it is."""
        assert soon(lambda: self.returncode is not None or self._has_said(), SOON_SECONDS)
        assert self.returncode is None, self.last_said
        return self

    def send(self, number: int) -> None:
        """Send a signal, unless it is gone; a stopped one stands still when this returns."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            assert soon(lambda: self.is_stopped, SOON_SECONDS)

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(") ")[2].startswith(STOPPED)

    def end(self) -> int:
        """Tell it to end, wait until it has, and return the exit code."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        assert soon(lambda: self.returncode is not None, SOON_SECONDS), self.last_said
        return int(self.returncode or 0)

    def _has_said(self) -> bool:
        out = self._folder / "out"
        return out.exists() and "\n" in out.read_text()


class Nursery:
    """A build that has been learnt; used as a context."""

    def __init__(self, build: Path | None = None) -> None:
        self.path = {"PYTHONPATH": str(build)} if build else {}
        """By which those who are brought up find their build, and their agent too."""
        self.gone: dict[int, int] = {}
        self._born: Queue[int] = Queue()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("nursery.py"))],
            cwd=ROOT,
            env=dict(os.environ) | self.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hearing = threading.Thread(target=self._hear)
        self._hearing.start()
        self._born.get(timeout=SOON_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(SOON_SECONDS)
        self._hearing.join()
        self._process.stdout.close()

    def bring_up(self, told: dict[str, Any]) -> int:
        """Bring up a process and return its pid."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return self._born.get(timeout=SOON_SECONDS)

    def _hear(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            word, pid, *code = line.split()
            if word == "gone":
                self.gone[int(pid)] = int(code[0])
            else:
                self._born.put(int(pid))


class Family:
    """Processes of a build; used as a context."""

    def __init__(self, cluster: Cluster, nursery: Nursery) -> None:
        self.cluster = cluster
        self.children: list[Child] = []
        self._nursery = nursery
        self._environment = cluster.environment | nursery.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever does not end so is ended with the nursery, and fails the test.
        with ThreadPoolExecutor(max(len(self.children), 1)) as at_once:
            list(at_once.map(Child.end, self.children))

    def begin(self, *verb: str, mark: Mark | None = None, **settings: str) -> Child:
        """Bring up a process and do not wait until it is ready."""
        folder = Path(tempfile.mkdtemp(prefix="process-", dir=self.cluster.folder))
        told = {
            "verb": verb,
            "environment": self._environment | settings,
            "out": str(folder / "out"),
            "err": str(folder / "err"),
            "mark": mark,
            "marks": str(Path(__file__).parent),
        }
        child = Child(self._nursery.bring_up(told), folder, self._nursery.gone)
        self.children.append(child)
        return child

    def serve(self, mark: Mark | None = None, **settings: str) -> Child:
        """Bring up a server and return it once it answers."""
        return self.begin("serve", "--listen", "127.0.0.1:0", mark=mark, **settings).ready()

    def work(self, mark: Mark | None = None, **settings: str) -> Child:
        """Bring up a worker and return it once it has said its name."""
        return self.begin("worker", mark=mark, **settings).ready()

    def client(self, server: Child) -> Client:
        """Return a client of a server with the administrator's token, to be used as a context."""
        return Client(Server(server.name, self._token))

    @property
    def headers(self) -> dict[str, str]:
        """By which a server knows the administrator."""
        return {"Authorization": f"Bearer {self._token}"}

    @property
    def _token(self) -> str:
        file = self.cluster.folder / "config/shipslog/config.toml"
        return str(tomllib.loads(file.read_text())["token"])
