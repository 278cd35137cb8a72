"""A machine that goes down and comes up: every lease is void, tokens rise, all goes on (F26)."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import Fence, Recorded
from tests.invariants import violations

from ..crashing import processes
from ..crashing.conditions import soon
from ..documents import environment, pipeline
from ..installation import SHIPSLOG, Installation, define, ended, request

BOOT_ID = "/proc/sys/kernel/random/boot_id"
ANOTHER_BOOT = f'mount --bind "$0" {BOOT_ID} && exec "$@"'
LAB, GO = "lab", "go"
SOON_SECONDS = 60.0

pytestmark = pytest.mark.system


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    here = Machine(tmp_path)
    try:
        here.start()
        yield here
    finally:
        here.end()


class Machine(Installation):
    """An installation on a machine of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def go_down(self) -> None:
        """End everything at once, as a power cut does; nothing outside the data folder is left."""
        agent = processes.agent_of(self.data)
        assert agent
        living = {agent, *processes.descendants(agent.pid)}
        for one in living:
            processes.kill(one)
        self.kill()
        assert processes.are_gone(living, SOON_SECONDS) == []
        Path((self.data / "agent/socket").read_text()).unlink(missing_ok=True)

    def come_up(self) -> None:
        """Start anew, where one may under another boot id."""
        if os.geteuid() == 0 and shutil.which("unshare"):
            another = self.folder / "boot_id"
            another.write_text(f"{uuid.uuid4()}\n")
            shell = ["unshare", "--mount", "sh", "-c", ANOTHER_BOOT, str(another)]
            self.program = [*shell, SHIPSLOG]
        self.start()

    def journal(self) -> list[str]:
        """Return the effects that the deployments' commands have noted."""
        file = self.folder / "journal"
        return file.read_text().splitlines() if file.exists() else []


async def test_after_a_reboot_all_leases_are_void_and_what_was_under_way_goes_on(
    machine: Machine,
) -> None:
    # F26
    script = (
        'cd "$1" && echo "$SHIPSLOG_EFFECT_KEY $SHIPSLOG_FENCE" >> journal; '
        f"while [ ! -e {GO} ]; do sleep 0.05; done"
    )
    stage = {"run": ["sh", "-c", script, "wait", str(machine.folder)], "idempotent": True}
    names = ("one", "two")
    async with machine.client() as client:
        pipelines = [pipeline(name, {"name": "wait", **stage}) for name in names]
        await define(client, environment(LAB), *pipelines)
        asked = [(await request(client, name, "1.0.0", LAB))["id"] for name in names]
        begun = partial(soon, lambda: len(machine.journal()) == len(names), SOON_SECONDS)
        assert await asyncio.to_thread(begun)
    machine.go_down()
    before = log_of(machine)
    machine.come_up()
    (machine.folder / GO).touch()
    async with machine.client() as client:
        done = await ended(client, asked)
    assert [status["status"] for status in done] == ["succeeded"] * len(names)
    after = log_of(machine)
    assert not violations(after)
    assert same(after, before)
    old, new = tokens(before), tokens(after[len(before) :])
    assert max(old) < min(new)
    effects = [line.partition(" ")[0] for line in machine.journal()]
    assert sorted(effects) == sorted(f"{one}/wait/{n}" for one in asked for n in (1, 2))


def log_of(machine: Machine) -> list[Recorded]:
    """Return every event."""
    archive = SqliteStore.read_only(machine.data)
    try:
        return list(archive.log.scan())
    finally:
        archive.close()


def same(after: list[Recorded], before: list[Recorded]) -> bool:
    """Say whether a log begins with another, byte for byte."""
    pairs = zip(after, before, strict=False)
    return all((a.header, a.payload) == (b.header, b.payload) for a, b in pairs)


def tokens(log: list[Recorded]) -> list[int]:
    """Return the tokens under which workers have written."""
    return [Fence.parse(event.header.fence).token for event in log if event.header.fence]
