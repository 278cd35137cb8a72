"""What an installation took: time of its deployments by its own clock, memory of its server."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from shipslog.api.wire.shapes import Status
from tests.system.installation import Installation


def stored(installation: Installation) -> dict[str, Any]:
    """Return the address and the token that `up` has written down."""
    return tomllib.loads((installation.configuration / "shipslog/config.toml").read_text())


def seconds(ended: Sequence[Status]) -> float:
    """Return the median time from request to end, as the log has it."""
    return median(_instant(one["completed_at"]) - _instant(one["requested_at"]) for one in ended)


def memory_megabytes(installation: Installation) -> float:
    """Return the resident memory of the server's process at its highest so far."""
    assert installation.process
    status = Path(f"/proc/{installation.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _instant(text: str | None) -> float:
    assert text
    return datetime.fromisoformat(text).timestamp()
