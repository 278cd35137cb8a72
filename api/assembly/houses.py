"""What one process needs, put together from the settings: to serve with and to work with."""

from __future__ import annotations

import getpass
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from ...adapters.clock import SystemClock
from ...adapters.documents.sources import allowed_source
from ...adapters.platforms.processes.platform import ProcessesPlatform
from ...adapters.probes.http import HttpProbe
from ...adapters.secrets.local import LocalSecretStore
from ...domain.access import Role
from ...domain.ledger import Door
from ...domain.stages import Outside
from ...domain.streams import Streams
from ...projections import targets
from ...projections.follower import Follower, Views
from ..running import Crew
from ..services import Services
from ..settings import Settings
from ..signals.following import FollowerLog
from .stores import new_views, opened

if TYPE_CHECKING:
    from .stores import Store


class House:
    """A ledger that is open, and what this process makes of it."""

    def __init__(
        self, settings: Settings, store: Store, clock: SystemClock, closing: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._closing = closing

    async def services(self) -> Services:
        """Return what a server needs; the read models are followed from now on."""
        store, clock = self._store, self._clock
        follower = Follower(store.log, new_views(self._settings), FollowerLog())
        await follower.open()
        self._closing.push_async_callback(follower.close)
        allow = partial(allowed_source, roots=self._settings.roots)
        return Services(
            door=Door(store.log, clock, store.keyring, allow),
            log=store.log,
            blobs=store.blobs,
            follower=follower,
            directory=store.directory,
            keyring=store.keyring,
            tokens=store.tokens,
            clock=clock,
            broken=lambda: store.broken,
            waiting_appends=lambda: store.waiting,
        )

    async def crew(self, services: Services | None = None) -> Crew:
        """Return what a worker needs; in one process with a server it shares what that has read."""
        store, clock, settings = self._store, self._clock, self._settings
        probe = HttpProbe()
        self._closing.push_async_callback(probe.close)
        platform = ProcessesPlatform(settings.data, clock.now, store.accepted)
        return Crew(
            log=store.log,
            streams=services.door.streams if services else Streams(store.log),
            outside=Outside(platform, probe, LocalSecretStore(), store.blobs, clock),
            queue=store.work,
            system=await store.directory.ensure("system", "shipslog"),
            targets=partial(self._views(services).read, targets.names),
            lease_seconds=settings.lease_seconds if settings.postgres else None,
        )

    def _views(self, services: Services | None) -> Views:
        if services:
            return services.follower.views
        views = new_views(self._settings)
        self._closing.callback(views.close)
        self._closing.push_async_callback(views.aclose)
        return views


@asynccontextmanager
async def house(settings: Settings) -> AsyncGenerator[House]:
    """Open the ledger that the settings name. Errors: as for `opened`."""
    async with AsyncExitStack() as closing:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        clock = SystemClock()
        store = await closing.enter_async_context(opened(settings, clock))
        yield House(settings, store, clock, closing)


async def first_token(services: Services) -> str | None:
    """Return an administrator's token if nobody has one yet, made out for who started this."""
    if await services.tokens.list():
        return None
    subject = await services.directory.ensure("user", getpass.getuser())
    # Of servers that start for the first time in the same instant one gets it.
    return await services.tokens.create_first(subject, Role.ADMIN)
