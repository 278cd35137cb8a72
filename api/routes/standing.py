"""How deployments and targets stood at any position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import NotFoundError, NotYetVisibleError
from ...domain.event import Recorded
from ...domain.ledger import Receipt
from ...domain.target import Target
from ...domain.target import stream_of as target_stream
from ...projections import audit, deployments, targets
from ...projections.follower import storable
from ..services import Services
from ..wire.parameters import AS_OF
from ..wire.refusals import InvalidParameterError
from ..wire.shown import Shown

_MOVING = tuple(
    event.TOPIC
    for event in (
        Target.Routed,
        Target.RevisionStarted,
        Target.RevisionRetired,
        Target.Released,
        Target.Restored,
    )
)
"""Topics of a target's events that may change what is live there."""
SETTLED_SECONDS = 2.0
"""How long the answer to a change waits until other reads see it too; it is exact anyway."""


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
    place = await _live_at(services, document.environment, document.service, position)
    return await Shown(services.directory, services.keyring).status(document, place)


async def status_after(services: Services, receipt: Receipt) -> deployments.StatusDocument:
    """Return a status document as of what a command wrote; of a new deployment nothing is read."""
    written = [event for event in receipt.events if event.header.stream == receipt.stream]
    document = deployments.fold(written) if _is_whole(written) else None
    target = document and receipt.states.get(
        target_stream(f"{document.environment}/{document.service}")
    )
    if document is None or not isinstance(target, Target):
        return await status_at(services, receipt.stream.partition(":")[2], receipt.position)
    live = target.live
    where = deployments.Live(live.id, storable(live.version)) if live else None
    return await Shown(services.directory, services.keyring).status(document, where)


def _is_whole(written: Sequence[Recorded]) -> bool:
    return bool(written) and written[0].header.stream_version == 1


async def _live_at(
    services: Services, environment: str, service: str, position: int
) -> targets.Place | None:
    """Return what was live at a target at a position, without its whole history where that is so.

    A long line behind a target moves it all the time, and what is live there hardly ever.
    """
    query = partial(_unmoved, environment=environment, service=service, since=position)
    if position <= services.follower.position and (
        place := await services.follower.views.read(query)
    ):
        return place
    return await place_at(services, environment, service, position)


def _unmoved(db: Connection, environment: str, service: str, since: int) -> targets.Place | None:
    """Return what is live at a target if nothing after a position can have changed it."""
    place = targets.get(db, environment, service)
    if place is not None and place.position > since:
        stream = target_stream(f"{environment}/{service}")
        moves = (audit.Filters(stream=stream, topic=topic) for topic in _MOVING)
        if any(audit.positions(db, one, after=since, limit=1) for one in moves):
            return None
    return place


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


def _up_to(events: Iterable[Recorded], position: int) -> list[Recorded]:
    return [event for event in events if event.position <= position]
