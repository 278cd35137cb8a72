"""Appending to PostgreSQL, beside the limit and the library in the same run; `--quick` for a look.

Each round measures everything once, so that what disturbs the machine disturbs all of it; a line
shows the medians of the rounds and the ratio that is to be reached. "+1 ms" is a simulated flush
(`commit_delay`), because this disk may flush far faster than a real one.
"""

import asyncio
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from shipslog.adapters.store.postgres.writer import Release
from tests.benchmarks.appenders import TABLE, application, copy, library, ours
from tests.databases import carry_out, fresh_ledger, make_template, running_server

ROOT = Path(__file__).parents[2]
QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
EVENTS = 8_000 if QUICK else 30_000
SECONDS = 2.0 if QUICK else 4.0
PROCESSES = 16

GOALS = (
    ("128 commands", "COPY x1000", 0.35),
    ("128 commands", "library", 25),
    ("batch of 100", "COPY x100", 0.75),
    ("16 processes +1 ms", "raw, unordered +1 ms", 0.65),
    ("16 processes +1 ms", "library +1 ms", 11),
    ("16 processes x8 +1 ms", "raw, unordered +1 ms", 0.65),
)


def one_process(rates: dict[str, list[float]]) -> None:
    with running_server(shared_buffers="256MB") as server:
        make_template(server)
        with fresh_ledger(server) as url:
            for _ in range(ROUNDS):
                rates["COPY x1000"].append(copy(url, 1000, EVENTS))
                rates["COPY x100"].append(copy(url, 100, EVENTS))
                rates["library"].append(library(url, EVENTS // 15))
                rates["128 commands"].append(
                    asyncio.run(ours(url, 128, 1, EVENTS, Release.AFTER_FLUSH))
                )
                rates["batch of 100"].append(
                    asyncio.run(ours(url, 1, 100, EVENTS, Release.AFTER_FLUSH))
                )


def many_processes(rates: dict[str, list[float]]) -> None:
    kinds = {
        "raw": "raw, unordered +1 ms",
        "ours": "16 processes +1 ms",
        "ours x8": "16 processes x8 +1 ms",
        "library": "library +1 ms",
    }
    slow = {"commit_delay": "1000", "commit_siblings": "0", "max_connections": "300"}
    with running_server(**slow) as server:
        make_template(server)
        with fresh_ledger(server) as url:
            carry_out(url, f"SET search_path = public; {TABLE}")
            application(url).close()
            for _ in range(ROUNDS):
                for kind, name in kinds.items():
                    rates[name].append(together(kind, url))


def together(kind: str, url: str) -> float:
    """Return events a second of all processes, which begin at once."""
    program = [sys.executable, "-m", "tests.benchmarks.appenders", kind, url, str(SECONDS)]
    pipe = subprocess.PIPE
    with ExitStack() as ending:
        running: list[subprocess.Popen[str]] = []
        for _ in range(PROCESSES):
            process = subprocess.Popen(program, cwd=ROOT, text=True, stdin=pipe, stdout=pipe)
            ending.callback(process.wait)
            ending.callback(process.kill)
            running.append(process)
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(int(process.communicate()[0]) for process in running) / SECONDS


def main() -> None:
    rates: dict[str, list[float]] = defaultdict(list)
    one_process(rates)
    many_processes(rates)
    middle = {name: median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(
            f"{name:24} {middle[name]:>10,.0f} events/s   ({min(found):,.0f} - {max(found):,.0f})"
        )
    print()
    for name, limit, goal in GOALS:
        ratio = middle[name] / middle[limit]
        reached = "reached" if ratio >= goal else "missed"
        print(f"{name:22} / {limit:22} {ratio:7.2f}   goal {goal:>5}   {reached}")


if __name__ == "__main__":
    main()
