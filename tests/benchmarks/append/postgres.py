"""Appending to PostgreSQL, beside the limit and the library in the same run; `--quick` for a look.

Each round measures everything once, so that what disturbs the machine disturbs all of it; a line
shows the medians of the rounds and the ratio that is to be reached. "+1 ms" is a simulated flush
(`commit_delay`), because this disk may flush far faster than a real one. Peers that the peers'
own environment has are measured beside, without a goal.
"""

import asyncio
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from shipslog.adapters.store.postgres.writer import Release
from tests.benchmarks.append.appenders import TABLE, application, copy, library, ours
from tests.benchmarks.figures import Goal, told
from tests.benchmarks.peers import message_db
from tests.benchmarks.peers.running import has, run
from tests.databases import carry_out, fresh_ledger, make_template, running_server

ROOT = Path(__file__).parents[3]
QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
EVENTS = 8_000 if QUICK else 30_000
SECONDS = 2.0 if QUICK else 4.0
PROCESSES = 16

GOALS = (
    Goal("128 commands", "COPY x1000", 0.35),
    Goal("128 commands", "library, one by one", 25),
    Goal("batch of 100", "COPY x100", 0.75),
    Goal("16 processes +1 ms", "raw, unordered +1 ms", 0.65),
    Goal("16 processes +1 ms", "library +1 ms", 11),
    Goal("16 processes x8 +1 ms", "raw, unordered +1 ms", 0.65),
)


def one_process(rates: dict[str, list[float]]) -> None:
    with running_server(shared_buffers="256MB") as server:
        make_template(server)
        with fresh_ledger(server) as url:
            for _ in range(ROUNDS):
                rates["COPY x1000"].append(copy(url, 1000, EVENTS))
                rates["COPY x100"].append(copy(url, 100, EVENTS))
                rates["library, one by one"].append(library(url, EVENTS // 15))
                rates["128 commands"].append(
                    asyncio.run(ours(url, 128, 1, EVENTS, Release.AFTER_FLUSH))
                )
                rates["batch of 100"].append(
                    asyncio.run(ours(url, 1, 100, EVENTS, Release.AFTER_FLUSH))
                )
                if has("umadb_events"):
                    rates["UmaDB, one by one"].append(run("umadb_events", EVENTS // 15, 1))
                    rates["UmaDB, batch of 100"].append(run("umadb_events", EVENTS, 100))


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
            if message_db.has():
                message_db.install(url)
            for _ in range(ROUNDS):
                for kind, name in kinds.items():
                    rates[name].append(together("append.appenders", kind, url))
                if message_db.has():
                    rates["message-db +1 ms"].append(together("peers.message_db", url))


def together(module: str, *arguments: str) -> float:
    """Return events a second of all processes, which begin at once."""
    program = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments, str(SECONDS)]
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
    told(rates, "events/s", GOALS)


if __name__ == "__main__":
    main()
