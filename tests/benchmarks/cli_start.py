"""How long the command line takes to say its help, from nothing and from written bytecode.

Run from the checkout: `.venv/bin/python -m tests.benchmarks.cli_start`. The goal is 250 ms.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_MS, ROUNDS = 250, 11
SHIPSLOG = Path(sys.executable).with_name("shipslog")


def main() -> None:
    """Print the milliseconds of each call; the bare interpreter's are in all of them."""
    print(f"{'median ms of ' + str(ROUNDS):<24}{'bytecode':>10}{'none':>10}{'goal':>8}")
    calls = {"python -c pass": [sys.executable, "-c", "pass"]}
    calls |= {f"shipslog {verb}": [str(SHIPSLOG), verb] for verb in ("--help", "--version")}
    for name, command in calls.items():
        with tempfile.TemporaryDirectory() as written:
            taken(command, written)
            warm = statistics.median(taken(command, written) for _ in range(ROUNDS))
        bare = taken(command, None)
        print(f"{name:<24}{warm:>10.0f}{bare:>10.0f}{GOAL_MS:>8}")


def taken(command: list[str], bytecode: str | None) -> float:
    """Return the milliseconds of one call; without a folder nothing is compiled beforehand."""
    with tempfile.TemporaryDirectory() as nothing:
        environ = {"PATH": "/usr/bin:/bin", "PYTHONPYCACHEPREFIX": bytecode or nothing}
        began = time.perf_counter()
        subprocess.run(command, env=environ, check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
