"""How the demo shows a deployment under way: the tree of `--watch`, or one that only grows."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime

from shipslog.api.terminal.tree import STATES
from shipslog.api.terminal.views import LiveTree, View
from shipslog.api.wire.shapes import EventDocument, StageDocument, Status


def show(statuses: Iterable[Status]) -> Status:
    """Show a deployment's status documents as they come, and return the last one."""
    view = LiveTree() if sys.stdout.isatty() else GrowingTree()
    last: Status | None = None
    with view:
        for status in statuses:
            view.show(status, None)
            last = status
    if last is None:
        message = "The deployment was refused."
        raise RuntimeError(message)
    return last


class GrowingTree(View):
    """A line for each stage that has ended: for a file or a pipe, which takes nothing back."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def show(self, status: Status, event: EventDocument | None) -> None:  # noqa: ARG002
        """Print what is new."""
        if not self._shown:
            self._print("", f"{status['service']} {status['version']} → {status['environment']}")
        for stage in sorted(status["stages"], key=lambda stage: stage["ended_at"] or ""):
            if stage["ended_at"] and stage["name"] not in self._shown:
                self._print(stage["name"], f"├─ {_line(stage)}")
        if status["completed_at"]:
            self._print("", f"└─ {_state(status['status'])}")

    def _print(self, name: str, line: str) -> None:
        self._shown.add(name)
        print(line, flush=True)


def _line(stage: StageDocument) -> str:
    words = [f"{stage['name']:<18}", f"{_state(stage['status']):<12}", _lasted(stage)]
    return "  ".join([*words, stage["message"] or ""]).rstrip()


def _state(word: str) -> str:
    icon, _ = STATES.get(word, ("·", ""))
    return f"{icon} {word}"


def _lasted(stage: StageDocument) -> str:
    if not (stage["started_at"] and stage["ended_at"]):
        return " " * 5
    begun, ended = map(datetime.fromisoformat, (stage["started_at"], stage["ended_at"]))
    return f"{(ended - begun).total_seconds():4.1f}s"
