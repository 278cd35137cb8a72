"""How deployments and targets stood at any position."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial

from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import NotFoundError, NotYetVisibleError
from ...domain.event import Recorded
from ...domain.target import stream_of as target_stream
from ...projections import deployments, targets
from ..services import Services
from ..wire.parameters import AS_OF
from ..wire.refusals import InvalidParameterError
from ..wire.shown import Shown

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


def _up_to(events: Iterable[Recorded], position: int) -> list[Recorded]:
    return [event for event in events if event.position <= position]
