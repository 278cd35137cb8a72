"""The store on this machine, for verbs that need no server or whose server does not run."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..settings import Settings, from_environment
from ..wire.shapes import UnreachableError
from .asking import ask

if TYPE_CHECKING:
    from ...projections.follower import Views
    from ..assembly import Archive
    from ..client import Client
    from ..services import Services

T = TypeVar("T")


def settings_here() -> Settings:
    """Return the settings of the environment, else with the data folder that `up` ran with last."""
    settings = from_environment()
    if "SHIPSLOG_DATA" in os.environ or "SHIPSLOG_DATABASE_URL" in os.environ:
        return settings
    from ..user_config import stored

    data = stored().data
    return replace(settings, data=Path(data)) if data else settings


def at_server_or_here(
    question: Callable[[Client], Awaitable[T]], alternative: Callable[[], T]
) -> T:
    """Ask the server; where none runs, use the store itself, unless the user named a server."""
    try:
        return ask(question)
    except UnreachableError:
        if "SHIPSLOG_URL" in os.environ:
            raise
        return alternative()


def with_services(job: Callable[[Services], Awaitable[T]]) -> T:
    """Do something as a server would; the embedded store must not be open in another process.

    Errors: StoreLockedError.
    """
    import asyncio

    from ..assembly import house, located

    async def done(settings: Settings) -> T:
        async with house(settings) as opened:
            return await job(await opened.services())

    with located(settings_here()) as settings:
        return asyncio.run(done(settings))


def with_settings(job: Callable[[Settings], Awaitable[T]]) -> T:
    """Do something with the settings of the ledger, whose server runs for as long as that takes."""
    import asyncio

    from ..assembly import located

    async def done(settings: Settings) -> T:
        return await job(settings)

    with located(settings_here()) as settings:
        return asyncio.run(done(settings))


def with_archive(job: Callable[[Archive, Views], Awaitable[T]]) -> T:
    """Do something with the ledger and the read models, which are only read."""
    import asyncio

    from ..assembly import archive, located, views

    async def done(settings: Settings) -> T:
        async with archive(settings) as opened, views(settings) as rows:
            return await job(opened, rows)

    with located(settings_here()) as settings:
        return asyncio.run(done(settings))
