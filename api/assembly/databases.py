"""Making, upgrading and checking what a ledger and its read models are kept in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DatabaseError

from ...adapters.clock import SystemClock
from ...adapters.platforms.processes import platform as processes
from ...adapters.store.errors import NoLedgerError
from ...adapters.store.seen import FILE as SEEN
from ...adapters.store.sqlite.connections import LEDGER
from ...domain.errors import BrokenError, PlatformUnavailableError
from ...projections import READ_MODELS
from ...projections.follower import Views, standing
from ..settings import Settings
from .stores import archive, opened, place, require_driver, views

Facts = Mapping[str, Any]


async def make(settings: Settings) -> Facts:
    """Make ledger and read models where there are none, and bring the latter up to date.

    Errors: as for `opened`.
    """
    if settings.postgres is not None:
        require_driver(settings.postgres)
        from ...adapters.store.postgres.schema import create

        await asyncio.to_thread(create, settings.postgres)
        return await upgrade(settings)
    if not (settings.data / LEDGER).exists():
        async with opened(settings, SystemClock()):
            pass
    return place(settings)


async def make_where_missing(settings: Settings) -> None:
    """Make ledger and read models only where there are none; a server needs no more rights then.

    Errors: as for `opened`.
    """
    try:
        async with archive(settings), views(settings) as rows:
            if await _reached(rows) is None:
                await make(settings)
    except NoLedgerError:
        await make(settings)


async def upgrade(settings: Settings) -> Facts:
    """Bring what an earlier build made to this build's form. Errors: as for `archive`."""
    async with archive(settings) as ledger:
        if settings.postgres is None:
            return place(settings)
        from ...projections.follower.postgres import migrations

        done = await migrations.upgrade(settings.postgres, READ_MODELS, ledger.log)
    events = done.rebuilt.events if done.rebuilt else 0
    return {**place(settings), "views_before": done.before, "views": done.revision} | (
        {"views_rebuilt_from": events} if done.rebuilt else {}
    )


async def check(settings: Settings) -> list[str]:
    """Return everything that is wrong with how a ledger is kept, and with what is kept.

    Errors: as for `archive`.
    """
    faults: list[str] = []
    if settings.postgres is not None:
        require_driver(settings.postgres)
        from ...adapters.store.postgres.line.accepting import standing as line_standing
        from ...adapters.store.postgres.schema import check
        from ...projections.follower.postgres import migrations

        faults += await check(settings.postgres)
        faults += await asyncio.to_thread(migrations.check, settings.postgres, READ_MODELS)
        line = await line_standing(settings.postgres, settings.data / SEEN)
        faults += [str(line.lost)] if line.lost else []
    async with archive(settings) as ledger:
        faults += [f"position {found.position}: {found.detail}" for found in ledger.log.verify()]
    return faults


async def status(settings: Settings) -> Facts:
    """Return figures of a ledger and of its read models. Errors: as for `archive`."""
    async with archive(settings) as ledger, views(settings) as rows:
        found: dict[str, Any] = {"position": await ledger.log.head()}
        found["views_position"] = await _reached(rows)
    if settings.postgres is None:
        sizes = {path.name: path.stat().st_size for path in sorted(settings.data.glob("*.db*"))}
        return {**place(settings), **found, "bytes": sizes}
    from ...adapters.store.postgres.line.accepting import standing as line_standing
    from ...adapters.store.postgres.schema import facts
    from ...projections.follower.postgres import migrations

    state = await asyncio.to_thread(migrations.state, settings.postgres, READ_MODELS)
    line = await line_standing(settings.postgres, settings.data / SEEN)
    found |= {"timeline": line.timeline, "seen": line.seen.position}
    if line.lost:
        found["lost"] = str(line.lost)
    about_views = {"views": state.revision, "views_fit": state.fits, "parked": len(state.parked)}
    return {**place(settings), **found, **await facts(settings.postgres), **about_views}


async def accept(settings: Settings) -> Facts:
    """Go on with a log that has lost what this host has seen of it. Errors: as for `archive`."""
    async with archive(settings) as ledger:
        found = {"position": await ledger.log.head()}
    if settings.postgres is None:
        return {**place(settings), **found}
    from ...adapters.store.postgres.line.accepting import accept as accept_line

    before = await accept_line(settings.postgres, settings.data / SEEN)
    lost = {"lost": str(before.lost)} if before.lost else {}
    # Also where it was accepted before: then the agent may not have heard of it.
    if before.seen.accepted:
        try:
            await processes.accept_log(settings.data, before.seen.accepted)
        except PlatformUnavailableError as error:
            lost["agent"] = f"not told yet, a worker will: {error}"
    return {**place(settings), **found, "timeline": before.timeline, **lost}


async def _reached(rows: Views) -> int | None:
    try:
        return (await rows.read(standing)).position
    except (DatabaseError, BrokenError):
        return None
