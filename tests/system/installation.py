"""An installation of its own: `shipslog up` in a temporary folder, asked over HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Collection
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

from shipslog.api.client import Client, new_key
from shipslog.api.terminal.views import View
from shipslog.api.user_config import Server
from shipslog.api.verbs.asking import OUTCOMES
from shipslog.api.verbs.following import follow, settle
from shipslog.api.wire.shapes import Status

ROOT = Path(__file__).parents[2]
SHIPSLOG = str(Path(sys.executable).with_name("shipslog"))
READY_SECONDS, END_SECONDS = 60.0, 60.0
LONG_SECONDS = 300.0


class Installation:
    """A data folder, a user's configuration and a server; it may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.data, self.configuration = folder / "data", folder / "config"
        self.log = folder / "server.log"
        self.address = free_address()
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SHIPSLOG_")}
        ours = {"XDG_CONFIG_HOME": str(self.configuration), "SHIPSLOG_DATA": str(self.data)}
        self.environment = kept | ours | {"SHIPSLOG_ROOTS": f"{ROOT}{os.pathsep}{folder}"}
        self.program = [SHIPSLOG]
        """What runs the verb `up`."""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the server and wait until it says where it is."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*self.program, "up", "--listen", self.address],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        too_late = threading.Timer(READY_SECONDS, self.process.kill)
        too_late.start()
        assert self.process.stdout
        said = self.process.stdout.readline()
        too_late.cancel()
        assert said.startswith("address\t"), f"It said {said!r} and\n{self.log.read_text()}"

    def kill(self) -> None:
        """End the server as a power cut would; the agent lives on."""
        assert self.process
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        """End the server in order; the agent lives on."""
        assert self.process
        self.process.terminate()
        self._gone()

    def end(self) -> None:
        """End the server, if it runs, and the agent with all that it keeps."""
        try:
            self.stop()
        finally:
            self.run("agent", "--stop", "--data", str(self.data))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line."""
        return subprocess.run(
            [SHIPSLOG, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def client(self) -> Client:
        """Return a client with the administrator's token, to be used as a context."""
        stored = tomllib.loads((self.configuration / "shipslog/config.toml").read_text())
        return Client(Server(stored["url"], stored["token"]))

    def _gone(self) -> None:
        assert self.process
        try:
            self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise


async def define(client: Client, *documents: dict[str, Any]) -> None:
    """Define environments and pipelines that are new."""
    for document in documents:
        await client.put(f"/v1/{document['kind'].lower()}s/{document['name']}", document, etag=None)


async def deployed(client: Client, pipeline: str, version: str, environment: str) -> Status:
    """Deploy a version and return its last status document."""
    last, _ = await settle(
        client, await request(client, pipeline, version, environment), View(), timeout=LONG_SECONDS
    )
    return last


async def request(client: Client, pipeline: str, version: str, environment: str) -> Status:
    """Ask for a deployment."""
    return await client.request(pipeline, version, environment, options={}, key=new_key())


async def ended(client: Client, deployments: Collection[str]) -> list[Status]:
    """Return the last status documents of many deployments, over one stream of events."""
    left, position = set(deployments), 0
    async with asyncio.timeout(LONG_SECONDS), aclosing(follow(client, {}, 0)) as events:
        async for event in events:
            if event and event["topic"].removeprefix("deployment.") in OUTCOMES:
                left.discard(event["deployment"] or "")
                position = event["position"]
            if not left:
                break
    return [await client.deployment(deployment, at=position) for deployment in deployments]


def free_address() -> str:
    """Return a `host:port` of this machine where nobody listens now."""
    return free_addresses(1)[0]


def free_addresses(count: int) -> list[str]:
    """Return so many different ones."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
