"""Clients at work: examples/load.py as a process, and what it reports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Self

from .installation import ROOT


class Load:
    """So many requests a second to an address, until the report is asked for."""

    def __init__(self, address: str, rate: int) -> None:
        command = [sys.executable, "examples/load.py", "--url", f"http://{address}"]
        self._process = subprocess.Popen(
            [*command, "--rate", str(rate)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        assert "requests a second" in self._process.stderr.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def report(self) -> dict[str, Any]:
        """End it and return its figures."""
        self._process.terminate()
        said, complaints = self._process.communicate(timeout=60)
        assert not complaints
        report: dict[str, Any] = json.loads(said)
        return report
