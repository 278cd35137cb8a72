"""UnfencedTarget: a platform of fence class none; it does what it is asked, and notes each effect.

It compares no fence and remembers no effect key: what comes twice is done twice, what comes late is
done late. Its work is done by the platform of local processes, which is shown a new key and the
highest fence each time. The record is synced before the effect, and shared by all processes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from shipslog.domain.event import Fence
from shipslog.domain.ports import (
    Effect,
    Ended,
    FenceClass,
    Instance,
    Launch,
    Platform,
    RevisionSpec,
    Route,
    Traffic,
)


class Noted(NamedTuple):
    """An effect that the target has had."""

    verb: str
    target: str
    key: str
    fence: Fence


def recorded(record: Path) -> list[Noted]:
    """Return every effect, in the order in which they came."""
    if not record.exists():
        return []
    words = (line.split("\t") for line in record.read_text().splitlines())
    return [Noted(verb, target, key, Fence.parse(fence)) for verb, target, key, fence in words]


class UnfencedTarget:
    """Implements `Platform`, but for the promises that make it more than none."""

    fence_class = FenceClass.NONE

    def __init__(self, processes: Platform, record: Path) -> None:
        self._processes = processes
        self._record = record

    async def announce(self, target: str, fence: Fence) -> None:
        """Keep nothing of it."""

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """See `Platform.prepare`."""
        await self._processes.prepare(self._newest(effect), workspace, source)

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """Run a command, whether or not one of this key was run before."""
        return await self._processes.run(self._noted("run", effect), launch)

    async def stop(self, effect: Effect) -> None:
        """End what has come under a key, and keep nothing of what has not."""
        if self._times(effect):
            await self._processes.stop(self._newest(effect))

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """See `Platform.start`."""
        return await self._processes.start(self._noted("start", effect), spec)

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """See `Platform.instances`."""
        return await self._processes.instances(target, revision)

    async def route(self, effect: Effect, route: Route) -> None:
        """See `Platform.route`."""
        await self._processes.route(self._noted("route", effect), route)

    async def routed(self, target: str) -> Route | None:
        """See `Platform.routed`."""
        return await self._processes.routed(target)

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """See `Platform.retire`."""
        await self._processes.retire(self._noted("retire", effect), revision, drain)

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """See `Platform.traffic`."""
        return await self._processes.traffic(target)

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """See `Platform.forget`."""
        await self._processes.forget(target, deployments)

    def _noted(self, verb: str, effect: Effect) -> Effect:
        """Note an effect, and return it as one that was never seen before."""
        with self._locked() as record:
            line = "\t".join((verb, effect.target, str(effect.key), str(effect.fence)))
            os.write(record, line.encode() + b"\n")
            os.fsync(record)
            return self._newest(effect)

    def _newest(self, effect: Effect) -> Effect:
        fences = [one.fence for one in recorded(self._record) if one.target == effect.target]
        again = self._times(effect) - 1
        stage = f"{effect.key.stage}.again-{again}" if again > 0 else effect.key.stage
        key = msgspec.structs.replace(effect.key, stage=stage)
        return msgspec.structs.replace(effect, key=key, fence=max([effect.fence, *fences]))

    def _times(self, effect: Effect) -> int:
        return sum(one.key == str(effect.key) for one in recorded(self._record))

    @contextmanager
    def _locked(self) -> Generator[int]:
        record = os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(record, fcntl.LOCK_EX)
            yield record
        finally:
            os.close(record)
