"""A deployment as a tree: each state an icon, a word and a colour, and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from ..wire.shapes import StageDocument, Status
from .output import clean, short
from .rows import waiting

STATES = {
    "requested": ("○", "cyan"),
    "awaiting_approval": ("◆", "yellow"),
    "queued": ("◇", "yellow"),
    "running": ("●", "cyan"),
    "paused": ("◆", "yellow"),
    "rolling_back": ("↺", "yellow"),
    "needs_operator": ("▲", "bold red"),
    "rejected": ("✖", "red"),
    "succeeded": ("✔", "green"),
    "rolled_back": ("↺", "yellow"),
    "failed": ("✖", "red"),
    "rollback_failed": ("✖", "bold red"),
    "aborted": ("■", "yellow"),
    "cancelled": ("■", "yellow"),
    "superseded": ("■", "yellow"),
    "pending": ("○", "dim"),
    "errored": ("▲", "red"),
    "skipped": ("↷", "dim"),
}
"""Icon and colour of each state of a deployment and of a stage; the word is the state itself."""
UNKNOWN = ("·", "")

LINKS = (
    ("rollback_of", "takes back"),
    ("rolled_back_by", "taken back by"),
    ("retry_of", "repeats"),
)


def tree(status: Status, now: datetime) -> Group:
    """Return a status document as a tree; `now` is what running stages are timed by."""
    root = Tree(_headline(status), guide_style="dim")
    groups: dict[str, Tree] = {}
    for stage in status["stages"]:
        family, dot, name = stage["name"].rpartition(".")
        if dot and family not in groups:
            groups[family] = root.add(Text(clean(family), "bold"))
        parent = groups[family] if dot else root
        parent.add(_stage_line(stage, name, now))
    return Group(root, *_notes(status))


def state(word: str) -> Text:
    """Return a state as icon, word and colour."""
    icon, colour = STATES.get(word, UNKNOWN)
    return Text(f"{icon} {clean(word)}", colour)


def _headline(status: Status) -> Text:
    what = f"{status['service']} {status['version']} → {status['environment']}"
    progress = f"  stage {status['current_stage']} of {status['total_stages']}"
    return Text.assemble((clean(what), "bold"), "  ", state(status["status"]), (progress, "dim"))


def _stage_line(stage: StageDocument, name: str, now: datetime) -> Text:
    icon, colour = STATES.get(stage["status"], UNKNOWN)
    word = clean(stage["status"])
    line = Text.assemble((icon, colour), f" {clean(name)}  ", (word, colour))
    if stage["attempt"] > 1:
        line.append(f"  attempt {stage['attempt']}", "dim")
    if stage["started_at"]:
        ended = _instant(stage["ended_at"]) if stage["ended_at"] else now
        line.append(f"  {_lasted(ended - _instant(stage['started_at']))}", "dim")
    if stage["message"]:
        line.append(f"  {clean(stage['message'])}")
    return line


def _notes(status: Status) -> Iterator[Text]:
    for wait in status["waiting_on"]:
        yield Text(f"waiting for {clean(waiting(wait))}", "yellow")
    asked = (
        f"{clean(status['id'])}  asked for by {clean(status['requested_by'] or 'somebody erased')}"
    )
    yield Text(f"{asked}, {short(status['requested_at'])}", "dim")
    if status["reason"]:
        yield Text(f"reason: {clean(status['reason'])}", "dim")
    for field, words in LINKS:
        if linked := status.get(field):
            yield Text(f"{words} {clean(linked)}", "dim")
    if live := status["live"]:
        yield Text(f"live now: {clean(live['version'])}", "dim")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _lasted(span: timedelta) -> str:
    if span < timedelta(minutes=1):
        return f"{max(0.0, span.total_seconds()):.1f}s"
    return str(span).partition(".")[0]
