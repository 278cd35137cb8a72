"""Asking: every kind of command, as bytes on the wire, and what came of it in the log."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import tomllib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import Recorded, sha256_hex
from tests.invariants import violations

from ..crashing.conditions import eventually
from ..documents import Document, environment, pipeline
from ..installation import Installation

PATIENCE = 60.0
WHERE = "quay"
LONG = {"name": "rest", "wait": "1h"}
DEPLOYMENTS = "/v1/deployments"


class Request(NamedTuple):
    """A command; sent again it is the same."""

    method: str
    path: str
    body: Document
    key: str

    @property
    def content(self) -> bytes:
        """The body on the wire."""
        return json.dumps(self.body).encode()


class Reply(NamedTuple):
    """What a command was answered; the body is that of the first time, also when repeated."""

    status: int
    location: str | None
    position: str | None
    body: bytes


class Desk:
    """Somebody with the administrator's token at an installation's server."""

    def __init__(self, here: Installation, session: aiohttp.ClientSession, token: str) -> None:
        self.session = session
        self.address = here.address
        self._token = token

    async def send(self, request: Request) -> Reply:
        """Send a command and return its answer."""
        headers = {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        async with self.session.request(
            request.method, request.path, data=request.content, headers=headers
        ) as answer:
            location = answer.headers.get("Location")
            position = answer.headers.get("Ledger-Position")
            return Reply(answer.status, location, position, await answer.read())

    async def done(self, request: Request) -> Document:
        """Send a command that is to be carried out, and return what was answered."""
        reply = await self.send(request)
        assert reply.status in {200, 201, 202}, reply
        document: Document = json.loads(reply.body)
        return document

    def encoded(self, request: Request) -> bytes:
        """Return a command as it stands on the wire."""
        lines = (
            f"{request.method} {request.path} HTTP/1.1",
            f"Host: {self.address}",
            f"Authorization: Bearer {self._token}",
            f"Idempotency-Key: {request.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(request.content)}",
        )
        return "\r\n".join((*lines, "", "")).encode() + request.content

    async def cut(self, content: bytes, *, is_reset: bool = False) -> None:
        """Send bytes over a connection of their own, and be gone, with a farewell or without."""
        await asyncio.to_thread(self._cut, content, is_reset=is_reset)

    def _cut(self, content: bytes, *, is_reset: bool) -> None:
        host, _, port = self.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            if is_reset:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.sendall(content)

    async def commands(self, mark: str) -> Mapping[str, Request]:
        """Make ready for each kind of command, and return one of each; `mark` makes them new."""
        await self.define(environment(f"{WHERE}-{mark}"), mark)
        deployments = {
            kind: await self._under_way(f"{kind}-{mark}", mark)
            for kind in ("abort", "rollback", "retry")
        }
        await self.done(self._act(deployments["retry"], "abort", f"{mark}-first"))
        await self.is_final(deployments["retry"])
        await self.define(pipeline(f"request-{mark}", LONG), mark)
        site, craft = environment(f"more-{mark}"), pipeline(f"more-{mark}", LONG)
        return {
            "environment": Request("PUT", f"/v1/environments/more-{mark}", site, f"{mark}-e"),
            "pipeline": Request("PUT", f"/v1/pipelines/more-{mark}", craft, f"{mark}-p"),
            "request": self._request(f"request-{mark}", mark, f"{mark}-r"),
            **{kind: self._act(name, kind, f"{mark}-{kind}") for kind, name in deployments.items()},
        }

    async def define(self, document: Document, mark: str) -> None:
        """Define an environment or a pipeline that is new."""
        name = document["name"]
        path = f"/v1/{document['kind'].lower()}s/{name}"
        await self.done(Request("PUT", path, document, f"{mark}-{document['kind']}-{name}"))

    async def is_final(self, deployment: str) -> None:
        """Wait until a deployment has ended."""

        async def has_ended() -> bool:
            return (await self.status(deployment))["completed_at"] is not None

        assert await eventually(has_ended, PATIENCE)

    async def status(self, deployment: str) -> Document:
        """Return how a deployment stands."""
        async with self.session.get(f"{DEPLOYMENTS}/{deployment}") as answer:
            document: Document = await answer.json()
            return document

    async def _under_way(self, name: str, mark: str) -> str:
        """Deploy something that rests for long, and return it once it does."""
        await self.define(pipeline(name, LONG), mark)
        deployment: str = (await self.done(self._request(name, mark, f"{mark}-{name}")))["id"]

        async def is_resting() -> bool:
            stages = (await self.status(deployment))["stages"]
            return bool(stages[0]["status"] == "running")

        assert await eventually(is_resting, PATIENCE)
        return deployment

    def _request(self, name: str, mark: str, key: str) -> Request:
        body = {"pipeline": name, "version": "1.0.0", "environment": f"{WHERE}-{mark}"}
        return Request("POST", DEPLOYMENTS, body | {"reason": "to see"}, key)

    def _act(self, deployment: str, verb: str, key: str) -> Request:
        return Request("POST", f"{DEPLOYMENTS}/{deployment}/{verb}", {"reason": "to see"}, key)


@asynccontextmanager
async def desk(here: Installation) -> AsyncGenerator[Desk]:
    """Give somebody with the administrator's token."""
    stored = tomllib.loads((here.configuration / "shipslog/config.toml").read_text())
    token = here.environment.get("SHIPSLOG_TOKEN") or stored["token"]
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(stored["url"], headers=headers, timeout=timeout) as session:
        yield Desk(here, session, token)


def log_of(data: Path) -> list[Recorded]:
    """Return every event of a data folder, also beside its server."""
    archive = SqliteStore.read_only(data)
    try:
        return list(archive.log.scan())
    finally:
        archive.close()


def faults_of(data: Path) -> list[str]:
    """Return everything that does not hold in a log."""
    archive = SqliteStore.read_only(data)
    try:
        damage: list[Any] = list(archive.log.verify())
        return [*map(str, damage), *violations(list(archive.log.scan()))]
    finally:
        archive.close()


def written_by(log: list[Recorded], request: Request) -> list[Recorded]:
    """Return the events of a command."""
    return [event for event in log if event.header.command.id == command_id(event, request.key)]


def command_id(event: Recorded, key: str) -> str:
    """Return the id of a command that an event's actor gives under a key."""
    return sha256_hex(f"{event.header.actor}\n{key}".encode())
