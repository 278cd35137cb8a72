"""Status documents as they are served, kept until an event changes what they say.

The rule of freshness. This process stands at the position that its follower has reached: what a
reader was told is visible is at or below it. A kept answer is never older than that position:

1. Before the follower moves its position, and so before anybody who waits for one goes on, it
   tells which streams the events up to the new position touch. Every kept answer that tells of
   one of them (its deployment's stream, its target's for `live`) is dropped then. Where it cannot
   say which, it says so, and all are dropped. It does not matter which process has applied the
   events: each follows the log itself and tells before it moves.
2. The read models are read at or above the position at which the reading began. What is told
   while a reading is under way may have come too late for it: such a document is given to those
   who had asked before the reading began, and not kept.
3. Whoever asks while a reading is under way waits for the next one. It begins after they asked.
4. A name or a text may be erased beside the log, also by another process. Whether one was is asked
   of the directory before anything that was kept is shown again after `ERASURE_SECONDS`; if so, all
   is dropped. For so long, at most, an erased name is still shown.

All who ask in one turn of the loop, or while a reading is under way, are answered by one query.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple

import msgspec
from aiohttp import web
from sqlalchemy import Connection, and_

from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import NotFoundError
from ...domain.target import stream_of as target_stream
from ...projections import deployments, targets
from ...projections.follower import with_keys
from ..services import Services
from ..wire import etag
from ..wire.accept import JSON
from ..wire.shown import Shown
from .written import Written

PATH = "/v1/deployments/"
ERASURE_SECONDS = 2.0
"""How long at most a name or a reason is shown that has been erased meanwhile."""
BATCH = 64
"""How many documents one query reads at most."""
OVERHEAD = 2048
"""Bytes that a kept answer takes beside its body."""

_encode = msgspec.json.Encoder().encode
_Found = tuple[deployments.StatusDocument, deployments.Live | None]


class Status(NamedTuple):
    """One answer."""

    body: bytes
    tag: str
    streams: tuple[str, str]
    """Of the deployment and of its target."""
    whole: Written

    @property
    def unchanged(self) -> Written:
        """The answer for those who have it already."""
        return Written(HTTPStatus.NOT_MODIFIED, f"ETag: {self.tag}\r\n")

    @property
    def size(self) -> int:
        """How many bytes of memory it takes, about."""
        return len(self.body) + OVERHEAD


class Statuses:
    """Kept answers, the least used of them forgotten where there are too many bytes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._most = self._left = services.limits.ready_bytes
        self._kept: OrderedDict[str, Status] = OrderedDict()
        """By path."""
        self._telling: defaultdict[str, set[str]] = defaultdict(set)
        """Stream to the paths of the answers that tell of it."""
        self._asked: defaultdict[str, list[asyncio.Future[Status]]] = defaultdict(list)
        self._reading: asyncio.Task[None] | None = None
        self._touched: set[str] = set()
        """Streams that were told of since the reading under way began."""
        self._is_all_touched = False
        self._erasures: int = 0
        self._looked_at = -ERASURE_SECONDS
        """When the directory was asked for them."""
        services.follower.listeners.append(self.forget)

    def ready(self, path: str) -> Status | None:
        """Return the answer that is kept for a path, or None."""
        kept = self._kept.get(path)
        if kept is None or monotonic() - self._looked_at > ERASURE_SECONDS:
            return None
        self._kept.move_to_end(path)
        return kept

    async def get(self, deployment: str) -> Status:
        """Return the answer for a deployment; NotFoundError where there is none."""
        if kept := self.ready(PATH + deployment):
            return kept
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Status] = loop.create_future()
        self._asked[deployment].append(future)
        if self._reading is None:
            self._reading = loop.create_task(self._read())
        return await future

    def forget(self, streams: AbstractSet[str] | None) -> None:
        """Drop what tells of these streams; None: of any."""
        if self._reading is not None:
            self._is_all_touched |= streams is None
            self._touched |= streams or set()
        told = self._telling.keys() if streams is None else streams & self._telling.keys()
        for path in {path for stream in told for path in self._telling[stream]}:
            self._drop(path)

    async def _read(self) -> None:
        """Answer all who ask, until nobody does."""
        try:
            while self._asked:
                ids = list(self._asked)[:BATCH]
                asked = {one: self._asked.pop(one) for one in ids}
                self._touched, self._is_all_touched = set(), False
                try:
                    await self._look_for_erasures()
                    found = {one: kept for one in ids if (kept := self._kept.get(PATH + one))}
                    found |= await self._load([one for one in ids if one not in found])
                except Exception as error:  # noqa: BLE001 - it goes to those who asked
                    _settle(asked, {}, error)
                else:
                    _settle(asked, found, NotFoundError(kind="deployment"))
        finally:
            self._reading = None

    async def _look_for_erasures(self) -> None:
        now = monotonic()
        if now - self._looked_at <= ERASURE_SECONDS:
            return
        erasures = await self._services.directory.erasures()
        if erasures != self._erasures:
            self._drop_all()
        self._erasures, self._looked_at = erasures, now

    async def _load(self, ids: Collection[str]) -> dict[str, Status]:
        if not ids:
            return {}
        services = self._services
        found = await services.follower.views.look_up(partial(_standing, ids))
        shown = await Shown(services.directory, services.keyring).statuses(found)
        made = {document.id: _status(document) for document in shown}
        self._keep(made)
        return made

    def _keep(self, found: Mapping[str, Status]) -> None:
        for deployment, status in found.items():
            is_late = self._is_all_touched or not self._touched.isdisjoint(status.streams)
            if is_late or status.size > self._most:
                continue
            path = PATH + deployment
            self._drop(path)
            self._kept[path] = status
            self._left -= status.size
            for stream in status.streams:
                self._telling[stream].add(path)
        while self._left < 0:
            self._drop(next(iter(self._kept)))

    def _drop_all(self) -> None:
        for path in list(self._kept):
            self._drop(path)

    def _drop(self, path: str) -> None:
        kept = self._kept.pop(path, None)
        if kept is None:
            return
        self._left += kept.size
        for stream in kept.streams:
            self._telling[stream].discard(path)
            if not self._telling[stream]:
                del self._telling[stream]


def _standing(ids: Collection[str], db: Connection) -> list[_Found]:
    """Return those of the documents that there are, each with what runs at its target."""
    rows = with_keys(db, _BOTH, (deployments.TABLE.c.id,), ids)
    return [(deployments.outline(row), _live(*row[-2:])) for row in rows]


_BOTH = deployments.SHOWN.add_columns(targets.TABLE.c.revision, targets.TABLE.c.version).outerjoin(
    targets.TABLE,
    and_(
        targets.TABLE.c.environment == deployments.TABLE.c.environment,
        targets.TABLE.c.service == deployments.TABLE.c.service,
    ),
)


def _live(revision: str | None, version: str | None) -> deployments.Live | None:
    return None if revision is None or version is None else deployments.Live(revision, version)


def _target(document: deployments.StatusDocument) -> str:
    return f"{document.environment}/{document.service}"


def _status(document: deployments.StatusDocument) -> Status:
    body = _encode(document)
    tag = etag.of_bytes(body)
    headers = f"ETag: {tag}\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
    return Status(
        body,
        tag,
        (deployment_stream(document.id), target_stream(_target(document))),
        Written(HTTPStatus.OK, headers, body),
    )


def _settle(
    asked: Mapping[str, list[asyncio.Future[Status]]],
    found: Mapping[str, Status],
    otherwise: Exception,
) -> None:
    for deployment, futures in asked.items():
        for future in futures:
            if future.done():
                continue
            if status := found.get(deployment):
                future.set_result(status)
            else:
                future.set_exception(otherwise)


STATUSES = web.AppKey("statuses", Statuses)
