"""The recording target: commands that tell a journal of their own which effect they are."""

from __future__ import annotations

from pathlib import Path

from ..documents import Document, pipeline

JOURNAL = "journal"
STAGES = 2
"""How many commands a deployment has."""
_NOTE = """
printf '%s %s\\n' "$SHIPSLOG_EFFECT_KEY" "$SHIPSLOG_FENCE" |
    dd of="$1" oflag=append conv=notrunc,fsync status=none
sleep "$2"
"""


def recording(name: str, folder: Path, wait: str) -> Document:
    """Return a pipeline of two commands with a wait between; only the first may run twice."""

    def note(stage: str, seconds: float, *needs: str, idempotent: bool) -> Document:
        command = ["sh", "-c", _NOTE, "note", str(folder / JOURNAL), str(seconds)]
        return {"name": stage, "run": command, "needs": list(needs), "idempotent": idempotent}

    return pipeline(
        name,
        note("build", 0.3, idempotent=True),
        {"name": "rest", "wait": wait, "needs": ["build"]},
        note("ship", 0.3, "rest", idempotent=False),
    )
