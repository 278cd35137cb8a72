"""Peers run with an interpreter of their own, so that nothing of theirs gets among ours.

`scripts/bench` makes that environment from `requirements-bench.lock`. Each peer is a program that
prints `ready`, waits for a line, does its work and prints how much of it a second.
"""

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("SHIPSLOG_PEERS", HERE.parents[2] / ".venv-bench")) / "bin/python"
PACKAGES = {
    "dbos_workflows": "dbos",
    "procrastinate_jobs": "procrastinate",
    "umadb_events": "umadb",
}


@cache
def has(peer: str) -> bool:
    """Say whether the peers' environment is there and holds this one; if not, print so."""
    found = (
        PYTHON.exists()
        and not subprocess.run(
            [PYTHON, "-c", f"import {PACKAGES[peer]}"], check=False, capture_output=True
        ).returncode
    )
    if not found:
        print(f"{PACKAGES[peer]} is not measured: not in {PYTHON.parents[1].name}")
    return found


def run(peer: str, *arguments: object) -> float:
    """Return how much of its work a peer does in a second."""
    return measured([str(PYTHON), str(HERE / f"{peer}.py"), *map(str, arguments)])


def measured(program: Sequence[str]) -> float:
    """Let a program get ready, begin, and say its figure."""
    pipe = subprocess.PIPE
    with subprocess.Popen(program, text=True, stdin=pipe, stdout=pipe) as process:
        try:
            said, _ = process.communicate("go\n", timeout=600)
        finally:
            process.kill()
    if process.returncode:
        message = f"{program[1:3]} ended with {process.returncode}"
        raise RuntimeError(message)
    return float(said.splitlines()[-1])
