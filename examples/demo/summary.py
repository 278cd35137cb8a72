"""What the demo shows at its end: figures, the history, where to look further, one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from shipslog.api.terminal.output import short
from shipslog.api.wire.shapes import Document, EventDocument, Status

WHERE = (
    ("scripts/demo --keep", "the same, and the server stays up for you to ask"),
    ("shipslog get ID", "one deployment as a tree; --as-of shows it as it was"),
    ("shipslog replay ID", "every transition, and the state after it"),
    ("shipslog events --follow", "the log as it grows"),
    ("examples/web/", "the service and its pipeline, in YAML and in Python"),
    ("examples/datasette/", "somebody else's service, from the package registry"),
    ("README.md, docs/", "how to deploy your own"),
)


@dataclass(frozen=True)
class Story:
    """What happened."""

    load: Document
    """The report of load.py."""
    deployments: Sequence[Status]
    """Status documents, the broken one last."""
    events: Sequence[EventDocument]
    """The whole log."""
    history: Sequence[Document]

    @property
    def switches(self) -> int:
        """How often traffic was led elsewhere."""
        return sum(event["topic"] == "target.routed" for event in self.events)

    @property
    def rollback_seconds(self) -> float | None:
        """From the failed check to the last request that the broken version answered."""
        broken = self.deployments[-1]
        answered = self.load["versions"].get(broken["version"])
        failed_at = [
            event["occurred_at"]
            for event in self.events
            if event["topic"] == "deployment.stage_finished"
            and event["deployment"] == broken["id"]
            and event["payload"]["outcome"] == "failed"
        ]
        if not (answered and failed_at):
            return None
        last = datetime.fromisoformat(answered["last_started_at"])
        # Below zero where no request came between the check and the switch back.
        return max(0.0, (last - datetime.fromisoformat(failed_at[0])).total_seconds())

    def line(self) -> str:
        """Return everything that can be counted as one JSON object."""
        seconds = self.rollback_seconds
        return json.dumps(
            {
                "requests": self.load["requests"],
                "failed": self.load["failed"],
                "switches": self.switches,
                "rollback_seconds": None if seconds is None else round(seconds, 3),
                "deployments": len(self.deployments),
            }
        )


def show(story: Story) -> None:
    """Print the tables."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print()
    console.print(_figures(story))
    for failure in story.load["failures"]:
        console.print(f"failed: {failure}")
    console.print("\nHistory")
    console.print(_history(story.history))
    console.print("\nWhere to look further")
    console.print(_table(WHERE))


def _figures(story: Story) -> Table:
    load, seconds = story.load, story.rollback_seconds
    latency = load["latency_ms"]
    back = "unknown" if seconds is None else f"{seconds:.3f} s"
    return _table(
        [
            ("requests sent", f"{load['requests']}, {load['rate']:.0f} a second"),
            *((f"  {kind}", str(count)) for kind, count in load["kinds"].items()),
            ("failed", str(load["failed"])),
            *((f"answered by {v}", str(seen["count"])) for v, seen in load["versions"].items()),
            ("latency", f"p50 {latency['p50']} ms, p99 {latency['p99']} ms"),
            ("switches of traffic", str(story.switches)),
            ("failed check to all traffic back", back),
        ]
    )


def _history(history: Sequence[Document]) -> Table:
    return _table(
        [
            (short(entry["requested_at"]), entry["version"], entry["status"], entry["deployment"])
            for entry in history
        ]
    )


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in rows[0]:
        table.add_column(no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
