"""The store on this machine, for verbs that need no server or whose server does not run."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...domain.errors import NotAvailableError
from ..settings import Settings, from_environment
from ..wire.shapes import UnreachableError
from .asking import ask

if TYPE_CHECKING:
    from ..assembly import Archive
    from ..client import Client
    from ..running import House

T = TypeVar("T")


def settings_here() -> Settings:
    """Return the settings of the environment; without it the data folder that `up` ran with last.

    Errors: NotAvailableError for PostgreSQL.
    """
    settings = from_environment()
    if settings.postgres:
        raise NotAvailableError(feature="PostgreSQL")
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


def with_store(job: Callable[[House], Awaitable[T]]) -> T:
    """Do something with the store that no server has open. Errors: StoreLockedError."""
    import asyncio

    from ..assembly import embedded

    async def done() -> T:
        async with embedded(settings_here()) as house:
            return await job(house)

    return asyncio.run(done())


def head_of(archive: Archive) -> int:
    """Return the position of the newest event."""
    import asyncio

    return asyncio.run(archive.log.head())
