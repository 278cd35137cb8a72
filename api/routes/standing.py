"""How deployments and targets stand now, kept ready, and how they stood at any position."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import NamedTuple

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import NotFoundError, NotYetVisibleError
from ...domain.event import Recorded
from ...domain.target import stream_of as target_stream
from ...projections import deployments, targets
from ..services import Services
from ..wire import etag
from ..wire.parameters import AS_OF
from ..wire.refusals import InvalidParameterError
from ..wire.shown import Shown

_encode = msgspec.json.Encoder().encode

READY_SECONDS = 2.0
"""How long at most a name or a reason is shown that has been erased meanwhile."""
MAX_READY = 1024
SETTLED_SECONDS = 2.0
"""How long the answer to a change waits until other reads see it too; it is exact anyway."""


class Ready:
    """Status documents as they are served, kept until an event changes what they say."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        """Stream to the deployments whose documents tell of it."""
        self._changes = 0
        """What was read before one of them may not be kept after it."""
        services.follower.listeners.append(self._forget)

    async def get(self, deployment: str) -> tuple[bytes, str]:
        """Return a status document's bytes and tag; NotFoundError where there is none."""
        kept = self._kept.get(deployment)
        now = monotonic()
        if kept is None or kept.until < now:
            changes = self._changes
            document = await current(self._services, deployment)
            body = _encode(document)
            target = target_stream(f"{document.environment}/{document.service}")
            kept = _Kept(body, etag.of_bytes(body), target, now + READY_SECONDS)
            if changes == self._changes:
                self._keep(deployment, kept)
        return kept.body, kept.tag

    def _keep(self, deployment: str, kept: _Kept) -> None:
        self._kept[deployment] = kept
        self._names[deployment_stream(deployment)].add(deployment)
        self._names[kept.target].add(deployment)
        if len(self._kept) > MAX_READY:
            self._drop(next(iter(self._kept)))

    def _forget(self, streams: AbstractSet[str] | None) -> None:
        self._changes += 1
        changed = self._names if streams is None else streams & self._names.keys()
        for name in {name for stream in changed for name in self._names[stream]}:
            self._drop(name)

    def _drop(self, deployment: str) -> None:
        kept = self._kept.pop(deployment, None)
        if kept is None:
            return
        for stream in (kept.target, deployment_stream(deployment)):
            self._names[stream].discard(deployment)
            if not self._names[stream]:
                del self._names[stream]


class _Kept(NamedTuple):
    body: bytes
    tag: str
    target: str
    until: float


async def current(services: Services, deployment: str) -> deployments.StatusDocument:
    """Return the status document as the read model has it; NotFoundError if it has none."""
    document, place = await services.follower.views.read(partial(_standing, deployment))
    return await Shown(services.directory, services.keyring).status(document, place)


async def position_of(services: Services, as_of: int | datetime) -> int:
    """Return the position that `as_of` means; InvalidParameterError beyond the head."""
    head = await services.log.head()
    if isinstance(as_of, int):
        if as_of > head:
            raise InvalidParameterError(AS_OF.name, f"The log ends at position {head}.")
        return as_of
    if as_of > services.clock.now():
        raise InvalidParameterError(AS_OF.name, "This instant has not come yet.")
    return await services.log.as_of(as_of)


async def status_at(
    services: Services, deployment: str, position: int
) -> deployments.StatusDocument:
    """Return a status document as it was served at a position; NotFoundError before its request."""
    events = await services.log.stream(deployment_stream(deployment))
    document = deployments.fold(_up_to(events, position))
    if document is None:
        raise NotFoundError(kind="deployment")
    place = await place_at(services, document.environment, document.service, position)
    return await Shown(services.directory, services.keyring).status(document, place)


async def place_at(
    services: Services, environment: str, service: str, position: int
) -> targets.Place | None:
    """Return what ran at a target at a position, or None before its first event."""
    if position <= services.follower.position:
        query = partial(targets.get, environment=environment, service=service)
        place = await services.follower.views.read(query)
        if place is None or place.position <= position:
            return place
    events = await services.log.stream(target_stream(f"{environment}/{service}"))
    return targets.fold(_up_to(events, position))


async def settle(services: Services, position: int) -> None:
    """Wait a little until the read models have reached a position."""
    with suppress(NotYetVisibleError):
        await services.follower.reached(position, SETTLED_SECONDS)


def _standing(
    deployment: str, db: Connection
) -> tuple[deployments.StatusDocument, targets.Place | None]:
    document = deployments.get(db, deployment)
    if document is None:
        raise NotFoundError(kind="deployment")
    return document, targets.get(db, document.environment, document.service)


def _up_to(events: Iterable[Recorded], position: int) -> list[Recorded]:
    return [event for event in events if event.position <= position]


READY = web.AppKey("ready", Ready)
