"""The demo's clients: examples/load.py as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Self

from installation import ROOT

END_SECONDS = 30.0


class Clients:
    """Clients at work from the beginning of a context until they are asked for their report."""

    def __init__(self, url: str, rate: int) -> None:
        command = [sys.executable, "examples/load.py", "--url", url, "--rate", str(rate)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.begun = self._process.stderr.readline().strip() if self._process.stderr else ""
        """What they are about to do, in words."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def report(self) -> dict[str, Any]:
        """End them when their requests under way are answered, and return what they saw."""
        self._process.terminate()
        said, complaints = self._process.communicate(timeout=END_SECONDS)
        print(complaints, end="", file=sys.stderr)
        report: dict[str, Any] = json.loads(said)
        return report
