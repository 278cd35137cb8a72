"""A running server as its tests see it: requests with a role, and everything that it has stored."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.api.server import make_app
from shipslog.api.services import Limits, Services
from shipslog.api.signals import logs
from shipslog.api.wire.listener import Listener
from shipslog.domain.access import Role
from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef, Event
from shipslog.domain.ledger import Door
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, SqliteViews

from .truth import judge

Json = Any
ENVIRONMENT: dict[str, Any] = {"platform": {"kind": "processes"}, "history_limit": 50}
PIPELINE: dict[str, Any] = {"stages": [{"name": "build", "run": ["true"]}]}
REQUEST = {"pipeline": "web", "version": "1.0.0", "environment": "staging"}
NOT_STORED = {"last_used_at"}
"""When a token was used is a counter, and counted for refused requests too."""


class Answer(NamedTuple):
    """What the server said."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Json:
        return msgspec.json.decode(self.body)

    @property
    def slug(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        return str(self.json["type"].rpartition(":")[2])


class MovableClock:
    """The system's time, moved on as far as a test wants."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Served:
    """The server, a client, and a token for each role."""

    def __init__(self, services: Services, store: SqliteStore, clock: MovableClock) -> None:
        self.services = services
        self.store = store
        self.clock = clock
        self.tokens: dict[Role, str] = {}
        self.subjects: dict[Role, str] = {}
        self.port = 0
        self.session: aiohttp.ClientSession
        self.folder: Path
        self.log: BytesIO

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = Role.ADMIN,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        async with self.session.request(method, path, headers=sent, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if method != "HEAD":
            judge(method, path, answer)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Json = None, **options: Any) -> Answer:
        return await self.ask("POST", path, json={} if body is None else body, **options)

    async def put(self, path: str, body: Json, **options: Any) -> Answer:
        return await self.ask("PUT", path, json=body, **options)

    async def define(self) -> None:
        answer = await self.put("/v1/environments/staging", ENVIRONMENT)
        assert answer.status == 201, answer.body
        answer = await self.put("/v1/pipelines/web", PIPELINE)
        assert answer.status == 201, answer.body

    async def deploy(self, **more: Any) -> Json:
        answer = await self.post("/v1/deployments", REQUEST | more)
        assert answer.status == 202, answer.body
        return answer.json

    async def record(self, stream: str, *events: Event) -> int:
        """Write events to a stream as a worker would, and wait until they are visible."""
        before = await self.services.log.stream(stream)
        version = before[-1].header.stream_version if before else 0
        command = CommandRef(uuid4().hex * 2, "0" * 64)
        deployment = stream.partition(":")[2]
        drafts = tuple(
            Draft(
                stream=stream,
                version=version + number,
                event=event,
                occurred_at=self.clock.now(),
                actor=self.subjects[Role.ADMIN],
                command=command,
                environment="staging",
                service="web",
                deployment=deployment if stream.startswith("deployment:") else None,
                causation=f"{stream}@{version}" if version else None,
            )
            for number, event in enumerate(events, 1)
        )
        appended = await self.services.log.append(Append(drafts=drafts, commands=(command,)))
        await self.services.follower.reached(appended.last, 5)
        return appended.last

    def logged(self) -> list[dict[str, Any]]:
        """Return every line of the server's log so far."""
        return [msgspec.json.decode(line) for line in self.log.getvalue().splitlines()]

    def fingerprint(self) -> str:
        """Return a digest of every row of every table of both files."""
        digest = hashlib.sha256()
        for name in ("ledger.db", "views.db"):
            with closing(sqlite3.connect(f"file:{self.folder / name}?mode=ro", uri=True)) as db:
                for line in _rows(db):
                    digest.update(line)
        return digest.hexdigest()


@asynccontextmanager
async def serve(folder: Path, limits: Limits | None = None) -> AsyncGenerator[Served]:
    log = BytesIO()
    logs.configure(log)
    clock = MovableClock()
    store = SqliteStore.open(folder, clock.now)
    follower = Follower(store.log, SqliteViews(folder / "views.db", READ_MODELS))
    await follower.open()
    services = Services(
        door=Door(store.log, clock, store.keyring),
        log=store.log,
        blobs=store.blobs,
        follower=follower,
        directory=store.directory,
        keyring=store.keyring,
        tokens=store.tokens,
        clock=clock,
        broken=lambda: store.broken,
        waiting_appends=lambda: store.waiting,
        limits=limits or Limits(),
    )
    served = Served(services, store, clock)
    served.folder, served.log = folder, log
    for role in Role:
        served.subjects[role] = await store.directory.ensure("user", role.value)
        served.tokens[role] = (await store.tokens.create(served.subjects[role], role))[0]
    listener = Listener(make_app(services), services.limits)
    host, served.port = await listener.start("127.0.0.1", 0)
    following = asyncio.create_task(follower.run())
    url = f"http://{host}:{served.port}"
    try:
        async with aiohttp.ClientSession(url, auto_decompress=False) as served.session:
            yield served
    finally:
        await listener.stop()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await follower.close()
        store.close()


def _rows(db: sqlite3.Connection) -> list[bytes]:
    lines: list[bytes] = []
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    for (table,) in tables.fetchall():
        columns = [row[1] for row in db.execute(f'PRAGMA table_info("{table}")')]
        kept = ", ".join(f'"{name}"' for name in columns if name not in NOT_STORED)
        rows = db.execute(f'SELECT {kept} FROM "{table}" ORDER BY {kept}')  # noqa: S608 - our own names
        lines += [table.encode(), *(repr(row).encode() for row in rows)]
    return lines
