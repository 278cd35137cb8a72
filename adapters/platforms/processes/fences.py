"""The highest fence each target has seen, in one synced file; and what passes under which now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from ....domain.errors import FenceRefusedError
from ....domain.event import Fence
from . import durable


class Fences:
    """Lets an effect pass, or refuses it before anything is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored = (
            msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
        )
        self._highest = {target: Fence.parse(fence) for target, fence in stored.items()}
        self._lock = asyncio.Lock()
        self._passing: dict[asyncio.Future[None], tuple[str, Fence]] = {}

    async def admit(self, target: str, fence: Fence) -> None:
        """Remember the fence, durably, before it counts; FenceRefusedError for a lower one."""
        async with self._lock:
            highest = self._highest.get(target)
            if highest is not None and fence < highest:
                raise FenceRefusedError(target=target, highest=str(highest), fence=str(fence))
            if fence != highest:
                risen = {**self._highest, target: fence}
                content = msgspec.json.encode({name: str(seen) for name, seen in risen.items()})
                await asyncio.to_thread(durable.replace, self._path, content)
                self._highest = risen

    @asynccontextmanager
    async def passing(self, target: str, fence: Fence) -> AsyncGenerator[None]:
        """Admit a change, for whose end who announces a higher fence waits."""
        await self.admit(target, fence)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._passing[ended] = target, fence
        try:
            yield
        finally:
            del self._passing[ended]
            ended.set_result(None)

    async def announce(self, target: str, fence: Fence) -> None:
        """Admit no lower fence any more, and return when no change under one is under way."""
        await self.admit(target, fence)
        lower = [end for end, (at, by) in self._passing.items() if at == target and by < fence]
        if lower:
            await asyncio.wait(lower)
