"""Watching the line: what this process knows is shared with its host, and where its address leads.

A process whose connections lead to an old primary hears nothing from it. So it connects anew a
few times in each lease, and leaves the old connections once an address leads to a newer line.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from .....domain.errors import LedgerError
from ...errors import UnusableLedgerError
from ...seen import keep
from ..connections import Connections, discard
from .meeting import Line

LOOKS = 5
"""In the time of a lease."""
KEEP_SECONDS = 1.0


class Watch:
    """Keeps what was seen in a file, and looks whom the database's address leads to."""

    def __init__(self, connections: Connections, line: Line, file: Path, lease: timedelta) -> None:
        self._connections = connections
        self._line = line
        self._file = file
        self._look_seconds = lease.total_seconds() / LOOKS
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on."""
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Watch no more, and keep what was seen."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._keep()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while self._line.broken is None:
            await asyncio.sleep(min(KEEP_SECONDS, self._look_seconds))
            await self._keep()
            if loop.time() - looked_at >= self._look_seconds:
                with suppress(LedgerError):
                    await discard(await self._connections.connect())
                looked_at = loop.time()

    async def _keep(self) -> None:
        if self._line.broken is not None:
            return
        # A disk that is full keeps it later; a file that was damaged is found at the next start.
        with suppress(OSError, UnusableLedgerError):
            if self._line.learn(await asyncio.to_thread(keep, self._file, self._line.seen)):
                self._connections.leave()
