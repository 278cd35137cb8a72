"""The processes of an installation, each run from its settings until it is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ...adapters import turns
from ...adapters.platforms.processes import daemon
from ...adapters.platforms.processes import platform as processes
from ...adapters.store.postgres_server import PostgresServer
from ..running import Part, run, serving, working
from ..settings import Settings
from .databases import make, make_where_missing
from .houses import first_token, house
from .own_server import keep_log_short, own_server, require_embedded

Announce = Callable[[str, str | None], None]
"""Is told a server's address and, once, its first token."""


def run_up(settings: Settings, announce: Announce) -> None:
    """Run server and worker in this process until it is told to end."""
    if settings.postgres is None:
        require_embedded(settings.data)
    turns.run(_up(settings, announce))


def run_up_on_own_server(settings: Settings, announce: Announce) -> None:
    """Run server, worker and the PostgreSQL that we bring along until told to end."""
    with own_server(settings) as (named, server):
        turns.run(_up(named, announce, server))


def run_serve(settings: Settings, announce: Announce) -> None:
    """Run a server in this process until it is told to end."""
    turns.run(_serve(settings, announce))


def run_worker(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run a worker in this process until it is told to end; `announce` learns its name."""
    turns.run(_worker(settings, announce))


def run_agent(settings: Settings) -> int:
    """Be the agent of a data folder until told to end; return 0, or 5 where it has one."""
    return daemon.main(settings.data)


def stop_agent(settings: Settings) -> None:
    """End the agent of a data folder, with everything that it keeps."""
    asyncio.run(processes.stop_agent(settings.data))


async def _up(settings: Settings, announce: Announce, server: PostgresServer | None = None) -> None:
    if server:
        await make(settings)
    elif settings.postgres:
        await make_where_missing(settings)
    async with house(settings) as opened:
        services = await opened.services()
        crew = await opened.crew(services)
        say = partial(_say, announce, await first_token(services))
        parts = [working(crew), serving(services, settings.host, settings.port, say)]
        if server:
            parts.append(Part((keep_log_short(server),)))
        await run(*parts)


async def _serve(settings: Settings, announce: Announce) -> None:
    async with house(settings) as opened:
        services = await opened.services()
        say = partial(_say, announce, await first_token(services))
        await run(serving(services, settings.host, settings.port, say))


async def _worker(settings: Settings, announce: Callable[[str], None]) -> None:
    async with house(settings) as opened:
        crew = await opened.crew()
        announce(crew.name)
        await run(working(crew))


def _say(announce: Announce, token: str | None, url: str) -> None:
    announce(url, token)
