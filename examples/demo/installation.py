"""A server of its own in a temporary folder, and the command line that asks it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHIPSLOG = Path(sys.executable).with_name("shipslog")
READY_SECONDS, END_SECONDS = 20.0, 15.0
LOG_LINES = 50


class Installation:
    """A data folder, a user's configuration beside it, and `shipslog up` on a free port."""

    called = "shipslog up"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shipslog-demo-"))
        self.data = self.folder / "data"
        self.configuration = self.folder / "config"
        self.log = self.folder / "server.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SHIPSLOG_")}
        ours = {"XDG_CONFIG_HOME": str(self.configuration), "SHIPSLOG_DATA": str(self.data)}
        self.environment: dict[str, str] = kept | ours
        self.server: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start the server and return its address; RuntimeError if it does not."""
        self.server = self.run("up", "--listen", "127.0.0.1:0")
        return self.told(self.server, "address")

    def run(self, *verb: str) -> subprocess.Popen[str]:
        """Start a process of the product; what it says goes to the log."""
        with self.log.open("a") as log:
            return subprocess.Popen(
                [str(SHIPSLOG), *verb],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON the verb prints
        """Run a verb with --json and return what it prints; CalledProcessError if it fails."""
        command = [str(SHIPSLOG), *arguments, "--json"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    def watch(self, *arguments: str) -> Iterator[Any]:
        """Run a verb with --watch --json and yield each document as it comes."""
        command = [str(SHIPSLOG), *arguments, "--watch", "--json"]
        with subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as verb:
            for line in verb.stdout or ():
                yield json.loads(line)

    def end(self) -> None:
        """End the server, the agent and all that it keeps, and remove the folder."""
        self.end_server()
        self.remove()

    def end_server(self) -> None:
        """End the server, the agent and all that it keeps."""
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
            self._stop_agent()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        """Return the end of the server's log."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_LINES:])

    def how_to_use(self) -> str:
        """Return what a person types to ask the server that was kept, and to end it."""
        verb = SHIPSLOG.relative_to(ROOT) if SHIPSLOG.is_relative_to(ROOT) else SHIPSLOG
        pid = self.server.pid if self.server else ""
        return "\n".join(
            (
                "The server stays up. To ask it:",
                f"  export XDG_CONFIG_HOME={self.configuration} SHIPSLOG_DATA={self.data}",
                f"  {verb} where; {verb} events --follow",
                "To end it:",
                f"  kill {pid}; {verb} agent --stop --data {self.data}; rm -r {self.folder}",
            )
        )

    @staticmethod
    def told(process: subprocess.Popen[str], wanted: str) -> str:
        """Return what a process says of itself; RuntimeError if it does not."""
        too_late = threading.Timer(READY_SECONDS, process.kill)
        too_late.start()
        try:
            for line in process.stdout or ():
                name, _, value = line.strip().partition("\t")
                if name == wanted:
                    return value
        finally:
            too_late.cancel()
        message = f"A process ended with {process.wait()}, or did not say its {wanted}."
        raise RuntimeError(message)

    def _stop_agent(self) -> None:
        command = [str(SHIPSLOG), "agent", "--stop", "--data", str(self.data)]
        done = subprocess.run(command, env=self.environment, timeout=END_SECONDS, check=False)
        if done.returncode:
            print("The agent did not end.", file=sys.stderr)


def free_address() -> str:
    """Return a `host:port` of this machine where nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
