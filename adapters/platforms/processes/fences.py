"""The highest fence each target has seen, in one synced file; and what passes under which now.

A log that went back and was accepted gives out positions again that a target has seen. So callers
say how often their log had been accepted when they began: whoever has the higher count wins,
whatever its fence, and with the first of them all that was seen under a lower count is void.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ....domain.errors import FenceRefusedError
from ....domain.event import Fence
from . import durable

ACCEPTED: ContextVar[int] = ContextVar("accepted", default=0)
"""How often the log of who calls had been accepted when that began; each call has its own."""

_OUTDATED = "{} refuses {}, of a log in whose place an operator has accepted another."


class Seen(NamedTuple):
    """What is kept."""

    accepted: int
    highest: dict[str, Fence]

    def replaced(self, path: Path) -> None:
        """Make it the content of a file."""
        fences = {name: str(fence) for name, fence in self.highest.items()}
        # Without an acceptance it is what an earlier build can read too.
        content: object = fences
        if self.accepted:
            content = {"accepted": self.accepted, "highest": fences}
        durable.replace(path, msgspec.json.encode(content))


class Fences:
    """Lets an effect pass, or refuses it before anything is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _kept(path)
        self._lock = asyncio.Lock()
        self._passing: dict[asyncio.Future[None], tuple[str, int, Fence]] = {}

    async def admit(self, target: str, fence: Fence) -> None:
        """Remember the fence, durably, before it counts; FenceRefusedError for a lower one."""
        async with self._lock:
            await self._accept(target, fence)
            highest = self._seen.highest.get(target)
            if highest is not None and fence < highest:
                raise FenceRefusedError(target=target, highest=str(highest), fence=str(fence))
            if fence != highest:
                risen = {**self._seen.highest, target: fence}
                await self._keep(Seen(self._seen.accepted, risen))

    @asynccontextmanager
    async def passing(self, target: str, fence: Fence) -> AsyncGenerator[None]:
        """Admit a change, for whose end who announces a higher fence waits."""
        await self.admit(target, fence)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._passing[ended] = target, ACCEPTED.get(), fence
        try:
            yield
        finally:
            del self._passing[ended]
            ended.set_result(None)

    async def announce(self, target: str, fence: Fence) -> None:
        """Admit no lower fence any more, and return when no change under one is under way."""
        await self.admit(target, fence)
        mine = ACCEPTED.get(), fence
        lower = [end for end, (at, *by) in self._passing.items() if at == target and (*by,) < mine]
        if lower:
            await asyncio.wait(lower)

    async def accept(self) -> None:
        """Admit nobody any more whose log was accepted less often than the caller's.

        Errors: FenceRefusedError where the caller's itself is such a log.
        """
        async with self._lock:
            await self._accept("Every target", Fence(0, 0))
        lower = [end for end, (_, by, _) in self._passing.items() if by < ACCEPTED.get()]
        if lower:
            await asyncio.wait(lower)

    async def _accept(self, target: str, fence: Fence) -> None:
        accepted = ACCEPTED.get()
        if accepted < self._seen.accepted:
            raise FenceRefusedError(
                _OUTDATED.format(target, fence), target=target, fence=str(fence)
            )
        if accepted > self._seen.accepted:
            await self._keep(Seen(accepted, {}))

    async def _keep(self, seen: Seen) -> None:
        await asyncio.to_thread(seen.replaced, self._path)
        self._seen = seen


def accept(path: Path, accepted: int) -> None:
    """Do what `Fences.accept` does in a file that no agent has."""
    if path.exists() and _kept(path).accepted < accepted:
        Seen(accepted, {}).replaced(path)


def _kept(path: Path) -> Seen:
    if not path.exists():
        return Seen(0, {})
    stored: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    accepted = stored.get("accepted", 0)
    fences: dict[str, str] = stored["highest"] if accepted else stored
    return Seen(accepted, {target: Fence.parse(fence) for target, fence in fences.items()})
