"""The same on PostgreSQL: one server and two workers, one of which is killed on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from installation import SHIPSLOG, Installation

from shipslog.adapters.store.postgres_server import PostgresServer

WORKERS = 2
LEASE = "3s"
"""Shorter than one would have it, so that the demo need not wait for a killed worker's to end."""
DATABASE = "shipslog"
KILLED_DURING = "deploy.monitor"
END_SECONDS = 30.0


class Apart(Installation):
    """A PostgreSQL, `shipslog serve` and two `shipslog worker`, which share a data folder."""

    called = "shipslog serve, and two shipslog worker on PostgreSQL"

    def __init__(self) -> None:
        super().__init__()
        # Started by root, the database server is nobody, who has to get in.
        self.folder.chmod(0o711)
        self.database = PostgresServer(self.folder / "postgres")
        self.workers: dict[str, subprocess.Popen[str]] = {}
        self.killed: str | None = None

    def start(self) -> str:
        """Start everything and return the server's address; RuntimeError if it does not."""
        self.database.start()
        with psycopg.connect(self.database.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        url = self.database.url(DATABASE)
        self.environment |= {"SHIPSLOG_DATABASE_URL": url, "SHIPSLOG_LEASE": LEASE}
        self.ask("db", "create")
        self.server = self.run("serve", "--listen", "127.0.0.1:0")
        address = self.told(self.server, "address")
        for _ in range(WORKERS):
            worker = self.run("worker")
            self.workers[self.told(worker, "worker")] = worker
        return address

    def watch(self, *arguments: str) -> Iterator[Any]:
        """Do the same, and kill the worker that has the first new version under load."""
        for status in super().watch(*arguments):
            yield status
            if self.killed is None and self._is_monitored(status) and status["live"]:
                self._kill_owner(status["id"])

    def end(self) -> None:
        """End everything, the database last, and remove the folder."""
        for worker in self.workers.values():
            worker.terminate()
        for worker in self.workers.values():
            try:
                worker.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        try:
            self.end_server()
        finally:
            self.database.stop()
            self.remove()

    def how_to_use(self) -> str:
        """Return what a person types to ask the server that was kept, and to end it."""
        url = self.environment["SHIPSLOG_DATABASE_URL"]
        left = [str(w.pid) for w in self.workers.values() if w.poll() is None]
        pids = " ".join(
            (*left, str(self.server.pid if self.server else ""), str(self.database.pid))
        )
        return "\n".join(
            (
                "Server, one worker and the database stay up. To ask them:",
                f"  export XDG_CONFIG_HOME={self.configuration} SHIPSLOG_DATA={self.data}",
                f"  export SHIPSLOG_DATABASE_URL={url}",
                f"  {SHIPSLOG} where; {SHIPSLOG} db status",
                "To end them:",
                f"  {SHIPSLOG} agent --stop; kill {pids}; rm -r {self.folder}",
            )
        )

    @staticmethod
    def _is_monitored(status: Any) -> bool:  # noqa: ANN401 - a status document
        stages = status["stages"]
        return any(s["name"] == KILLED_DURING and s["status"] == "running" for s in stages)

    def _kill_owner(self, deployment: str) -> None:
        query = "SELECT owner FROM shipslog.work WHERE stream = %s AND owner IS NOT NULL"
        with psycopg.connect(self.environment["SHIPSLOG_DATABASE_URL"]) as connection:
            row = connection.execute(query, (f"deployment:{deployment}",)).fetchone()
        if row is None:
            return
        self.killed = row[0]
        worker = self.workers[row[0]]
        worker.kill()
        worker.wait()
        print(f"\n$ kill -9 {worker.pid}   # the worker that has it; the other takes over")
        sys.stdout.flush()
