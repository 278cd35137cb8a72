"""Making, upgrading and checking what a ledger and its read models are kept in."""

from __future__ import annotations

import asyncio
from typing import Any

from ...adapters.clock import SystemClock
from ...projections import READ_MODELS
from ..settings import Settings
from .stores import archive, opened, require_driver

Facts = dict[str, Any]


async def make(settings: Settings) -> None:
    """Make what a ledger needs, where it is missing. Errors: as for `opened`."""
    if settings.postgres is None:
        async with opened(settings, SystemClock()):
            return
    require_driver(settings.postgres)
    from ...adapters.store.postgres.schema import create
    from ...projections.follower.postgres import migrations

    await asyncio.to_thread(create, settings.postgres)
    async with archive(settings) as ledger:
        await migrations.upgrade(settings.postgres, READ_MODELS, ledger.log)
