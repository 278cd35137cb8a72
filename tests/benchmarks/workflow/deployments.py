"""Durable deployments of five stages, beside DBOS and procrastinate; `--quick` for a look.

One at a time and 32 at once, with the disk's own flush and with a simulated one of 1 ms. Ours
stores the start and the finish of every stage, DBOS the finish; what the stages do is nothing.
DBOS at 32 is two processes of four threads each, the best that was found for it.
"""

import sys
from collections import defaultdict
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[3]))

from shipslog.adapters.store.postgres_server import PostgresServer
from tests.benchmarks.figures import Goal, told
from tests.benchmarks.peers.running import has, measured, run
from tests.databases import administer, fresh_ledger, make_template, running_server

QUICK = "--quick" in sys.argv
ROUNDS = 2 if QUICK else 5
ONE_BY_ONE, AT_ONCE = (10, 96) if QUICK else (60, 1024)
CROWD = 32
DBOS_PROCESSES, DBOS_THREADS = 2, 4
GOALS = (
    Goal("32 at once", "DBOS, at its best", 20),
    Goal("1 at a time", "DBOS, 1 at a time", 4),
    Goal("1 at a time +1 ms", "DBOS, 1 at a time +1 ms", 1.8),
    Goal("32 at once +1 ms", "DBOS, at its best +1 ms", 20),
)


def main() -> None:
    """Print deployments a second of each, and the ratios."""
    rates: dict[str, list[float]] = defaultdict(list)
    slow = {"commit_delay": "1000", "commit_siblings": "0"}
    for name, settings in (("", {}), (" +1 ms", slow)):
        with running_server(max_connections="300", **settings) as server:
            make_template(server)
            for _ in range(ROUNDS):
                one_round(server, name, rates)
    told(rates, "deployments/s", GOALS)


def one_round(server: PostgresServer, name: str, rates: dict[str, list[float]]) -> None:
    """Measure everything once."""
    for kind, number, at_once in (
        ("1 at a time", ONE_BY_ONE, 1),
        (f"{CROWD} at once", AT_ONCE, CROWD),
    ):
        with fresh_ledger(server) as url:
            rates[kind + name].append(ours(url, number, at_once))
    if has("dbos_workflows"):
        with database(server) as url:
            alone = run("dbos_workflows", url, ONE_BY_ONE, 1)
            rates["DBOS, 1 at a time" + name].append(alone)
            rates["DBOS, at its best" + name].append(dbos(url))
    if has("procrastinate_jobs"):
        with database(server) as url:
            rates["procrastinate" + name].append(run("procrastinate_jobs", url, 64, CROWD))


def ours(url: str, number: int, at_once: int) -> float:
    """Return our deployments a second, client and worker in one process."""
    program = [sys.executable, "-m", "tests.benchmarks.workflow.ours"]
    return measured([*program, url, str(number), str(at_once)])


def dbos(url: str) -> float:
    """Return workflows a second of several DBOS processes together."""
    with ThreadPoolExecutor(DBOS_PROCESSES) as pool:
        each = [
            pool.submit(run, "dbos_workflows", url, ONE_BY_ONE * 4, DBOS_THREADS)
            for _ in range(DBOS_PROCESSES)
        ]
        return sum(one.result() for one in each)


@contextmanager
def database(server: PostgresServer) -> Generator[str]:
    """Give the URL of an empty database."""
    name = f"peer_{uuid4().hex}"
    administer(server, f"CREATE DATABASE {name}")
    try:
        yield server.url(name)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    main()
