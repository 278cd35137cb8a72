"""A platform to try, one target on it, and what a test says in every second line."""

import asyncio
import itertools
import os
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from shipslog.domain.event import Fence
from shipslog.domain.ports import (
    Effect,
    EffectKey,
    Ended,
    Instance,
    Launch,
    Platform,
    RevisionSpec,
    Route,
)

SERVICE = Path(__file__).with_name("service.py")
DEPLOYMENT = "d1"
FENCE = Fence(1, 1)


@dataclass
class Ground:
    """Effects follow each other: each has a key of its own unless a stage is named."""

    platform: Platform
    folder: Path
    target: str = "staging/web"
    listen: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    stages: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    def effect(
        self,
        stage: str = "",
        *,
        seconds: float = 30,
        fence: Fence = FENCE,
        deployment: str = DEPLOYMENT,
    ) -> Effect:
        key = EffectKey(deployment, stage or f"stage-{next(self.stages)}", 1)
        return Effect(key, self.target, fence, datetime.now(UTC) + timedelta(seconds=seconds))

    async def prepare(self, source: Path | None = None, deployment: str = DEPLOYMENT) -> None:
        effect = self.effect(deployment=deployment)
        await self.platform.prepare(effect, deployment, str(source) if source else None)

    async def run(self, *argv: str, stage: str = "", seconds: float = 30) -> Ended:
        return await self.platform.run(self.effect(stage, seconds=seconds), launch(*argv))

    async def python(self, code: str, *arguments: str, stage: str = "") -> Ended:
        return await self.run("python", "-c", code, *arguments, stage=stage)

    async def sh(self, script: str, stage: str = "", seconds: float = 30) -> Ended:
        return await self.run("sh", "-c", script, stage=stage, seconds=seconds)

    async def start(self, revision: str, capacity: int = 1, stage: str = "") -> Sequence[Instance]:
        """Start the test's service, and return when all instances answer."""
        if not self.source.exists():
            self.source.mkdir()
            shutil.copy(SERVICE, self.source)
        await self.prepare(self.source)
        instances = await self.platform.start(self.effect(stage), service(revision, capacity))
        await asyncio.gather(*(listening(instance.port) for instance in instances))
        return instances

    async def route(self, **weights: int) -> None:
        await self.platform.route(self.effect(), Route(self.listen, weights))

    async def retire(self, revision: str, drain: float = 5, seconds: float = 30) -> None:
        await self.platform.retire(self.effect(seconds=seconds), revision, drain)

    async def has_in_flight(self, revision: str) -> None:
        """Return as soon as a request is on its way to the revision."""

        async def one() -> bool:
            return (await self.platform.traffic(self.target))[revision].in_flight > 0

        await eventually(one)

    async def dies(self, revision: str, instance: Instance) -> None:
        """End an instance, and return as soon as that is seen."""
        with pytest.raises(aiohttp.ClientError):
            await get(f"http://{instance.host}:{instance.port}/die")
        await self.has_ended(revision)

    async def has_ended(self, revision: str) -> Sequence[Instance]:
        """Return the instances as soon as one of them has ended."""

        async def one_has() -> bool:
            instances = await self.platform.instances(self.target, revision)
            return not all(instance.alive for instance in instances)

        await eventually(one_has)
        return await self.platform.instances(self.target, revision)

    @property
    def source(self) -> Path:
        return self.folder / "service"


def launch(*argv: str, **values: str) -> Launch:
    return Launch(argv, values, DEPLOYMENT)


def service(revision: str, capacity: int = 1) -> RevisionSpec:
    argv = ("python", "service.py", "--port", "{port}", "--version", "{version}")
    return RevisionSpec(revision, revision, launch(*argv, version=revision), capacity)


def sleeper(seconds: int = 300) -> RevisionSpec:
    return RevisionSpec("sleeper", "1", launch("sleep", str(seconds)), 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def listening(port: int) -> None:
    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(answers, seconds=20)


async def eventually(
    claim: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 10
) -> None:
    """Return as soon as the claim holds."""
    async with asyncio.timeout(seconds):
        while True:
            held = claim()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that nobody has reaped has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state not in "ZX"


def processes_that_say(words: str) -> list[int]:
    """Return the processes with these words in their command line."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_running(int(entry.name)):
            try:
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            if words in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
