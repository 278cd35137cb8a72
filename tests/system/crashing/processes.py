"""Processes seen from outside: an agent, what descends from it, and whether they are gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from .conditions import soon


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with its id."""

    pid: int
    started_at: str

    @property
    def is_running(self) -> bool:
        """Whether it lives; one that nobody has reaped does not."""
        found = _status(self.pid)
        return found is not None and found[1:] == (self.started_at,) and found[0][0] not in "ZX"


def agent_of(data: Path) -> Process | None:
    """Return the agent of a data folder, if one runs."""
    lock = data / "agent/lock"
    text = lock.read_text() if lock.exists() else ""
    found = process(int(text)) if text else None
    return found if found and found.is_running else None


def process(pid: int) -> Process | None:
    """Return the process of an id."""
    found = _status(pid)
    return Process(pid, found[1]) if found else None


def descendants(pid: int) -> set[Process]:
    """Return all processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _status(int(entry.name))):
            children.setdefault(int(found[0].split()[1]), []).append(int(entry.name))
    below = list(children.get(pid, ()))
    for child in below:
        below.extend(children.get(child, ()))
    return {one for child in below if (one := process(child))}


def those_that_say(words: str) -> set[Process]:
    """Return the processes with these words in their command line, but for this one."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {
        found
        for pid in pids
        if pid != os.getpid()
        and words in _command_line(pid)
        and (found := process(pid))
        and found.is_running
    }


def resident(pid: int) -> int:
    """Return how many bytes of memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kill(victim: Process) -> None:
    """End a process in the way that leaves it nothing to do."""
    if victim.is_running:
        os.kill(victim.pid, signal.SIGKILL)


def are_gone(processes: Collection[Process], seconds: float) -> list[Process]:
    """Return those that still run after so many seconds."""
    soon(lambda: not any(one.is_running for one in processes), seconds)
    return [one for one in processes if one.is_running]


def _status(pid: int) -> tuple[str, str] | None:
    """Return state and parent as one text, and when it was started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return f"{fields[0]} {fields[1]}", fields[19]


def _command_line(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace")
