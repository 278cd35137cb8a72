"""The assembly: settings become everything, wired; the only file that constructs adapters."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..adapters.clock import SystemClock
from ..adapters.documents import files
from ..adapters.documents.sources import allowed_source
from ..adapters.platforms.processes import daemon
from ..adapters.platforms.processes import platform as processes
from ..adapters.probes.http import HttpProbe
from ..adapters.secrets.local import LocalSecretStore
from ..adapters.store.sqlite.store import SqliteArchive, SqliteStore
from ..domain.access import Role
from ..domain.ledger import Door
from ..domain.stages import Outside
from ..projections import READ_MODELS
from ..projections.follower import Follower, Views
from .running import House, run
from .services import Services
from .settings import Settings
from .signals.following import FollowerLog

if TYPE_CHECKING:
    from ..adapters.documents.written import WrittenDocument

Archive = SqliteArchive
"""A ledger that is only read."""

VIEWS = "views.db"


def read_files(paths: Iterable[Path]) -> list[WrittenDocument]:
    """Return the documents of a user's files. Errors: InvalidError with file and line."""
    return files.read_files(paths)


def run_up(settings: Settings, announce: Callable[[str, str | None], None]) -> None:
    """Run server, worker and embedded store in this process until it is told to end."""
    asyncio.run(_up(settings, announce))


def run_agent(settings: Settings) -> int:
    """Be the agent of a data folder until told to end; return 0, or 5 where it has one."""
    return daemon.main(settings.data)


def stop_agent(settings: Settings) -> None:
    """End the agent of a data folder, with everything that it keeps."""
    asyncio.run(processes.stop_agent(settings.data))


async def _up(settings: Settings, announce: Callable[[str, str | None], None]) -> None:
    async with embedded(settings) as house:
        token = await first_token(house)
        await run(house, settings.host, settings.port, partial(_say, announce, token))


def _say(announce: Callable[[str, str | None], None], token: str | None, url: str) -> None:
    announce(url, token)


async def first_token(house: House) -> str | None:
    """Return an administrator's token if nobody has one yet, made out for who started this."""
    services = house.services
    if await services.tokens.list():
        return None
    subject = await services.directory.ensure("user", getpass.getuser())
    return (await services.tokens.create(subject, Role.ADMIN, None))[0]


@contextmanager
def archive(settings: Settings) -> Generator[Archive]:
    """Open the ledger to be read only, also beside a server. Errors: BrokenError."""
    opened = SqliteStore.read_only(settings.data)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def views(settings: Settings) -> Generator[Views]:
    """Give the read models' rows to be read only, also beside a server."""
    rows = Views(settings.data / VIEWS, READ_MODELS)
    try:
        yield rows
    finally:
        rows.close()


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncGenerator[House]:
    """Open everything on the embedded store. Errors: StoreLockedError, BrokenError."""
    async with AsyncExitStack() as closing:
        clock = SystemClock()
        store = SqliteStore.open(settings.data, clock.now)
        closing.callback(store.close)
        allow = partial(allowed_source, roots=settings.roots)
        door = Door(store.log, clock, store.keyring, allow)
        views = Views(settings.data / VIEWS, READ_MODELS)
        follower = Follower(store.log, views, FollowerLog())
        await follower.open()
        closing.push_async_callback(follower.close)
        platform = processes.ProcessesPlatform(settings.data)
        probe = HttpProbe()
        closing.push_async_callback(probe.close)
        outside = Outside(platform, probe, LocalSecretStore(), store.blobs, clock)
        services = Services(
            door=door,
            log=store.log,
            blobs=store.blobs,
            follower=follower,
            directory=store.directory,
            keyring=store.keyring,
            tokens=store.tokens,
            clock=clock,
            broken=lambda: store.broken,
        )
        system = await store.directory.ensure("system", "shipslog")
        yield House(services, store.work, outside, system, store.epoch)
