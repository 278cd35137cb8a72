"""Servers measured side by side: answers a second, and processor time for each answer."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import msgspec

from tests.benchmarks.figures import Goal, line

from .load import ask

ROOT = Path(__file__).parents[3]
CONNECTIONS = 32
QUICK = "--quick" in sys.argv
ROUNDS, SECONDS = (15, 0.3) if QUICK else (25, 1.0)
Writing = Callable[[dict[str, Any]], Iterator[bytes]]
"""Makes the requests to a server of what that said of itself."""


class Server(NamedTuple):
    """A server that runs: its process, and what it said of itself."""

    pid: int
    said: dict[str, Any]


class Cost(NamedTuple):
    """What a round has shown."""

    rate: float
    """Answers a second."""
    micros: float
    """Processor time of the server for each answer, microseconds."""


@contextmanager
def server(kind: str, body: str = "") -> Generator[Server]:
    """Give a server of this kind, ended afterwards; a bare one answers with `body`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.http.serving", kind],
        cwd=ROOT,
        env={**os.environ, "BODY": body},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        yield Server(process.pid, msgspec.json.decode(process.stdout.readline()))
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()


def compare(servers: Mapping[str, Server], write: Writing, lines: Sequence[Goal]) -> None:
    """Measure all servers in turn, several rounds, and print medians and ratios."""
    found: dict[str, list[Cost]] = {name: [] for name in servers}
    for warm in (True, *[False] * ROUNDS):
        for name, one in servers.items():
            cost = measure(one, write(one.said))
            if not warm:
                found[name].append(cost)
    for name, costs in found.items():
        rate, micros = median(c.rate for c in costs), median(c.micros for c in costs)
        print(f"{name:22} {rate:>9,.0f} answers/s   {micros:7.1f} us of processor each")
    print()
    for ours, limit, goal, _ in lines:
        # Of each round for itself: what disturbs the machine disturbs both in the same moment.
        pairs = list(zip(found[ours], found[limit], strict=True))
        rate = median(one.rate / other.rate for one, other in pairs)
        processor = median(other.micros / one.micros for one, other in pairs)
        print(line(ours, f"{limit}, processor time", processor, goal))
        print(line(ours, f"{limit}, answers/s", rate, goal))


def measure(one: Server, requests: Iterator[bytes]) -> Cost:
    """Load a server for a while."""
    before = processor_seconds(one.pid)
    answers, lasted = asyncio.run(ask(one.said["port"], requests, CONNECTIONS, SECONDS))
    spent = processor_seconds(one.pid) - before
    return Cost(answers / lasted, spent / answers * 1e6)


def processor_seconds(pid: int) -> float:
    """Return the processor time that all threads of a process have had."""
    tasks = Path(f"/proc/{pid}/task")
    spent = [(task / "schedstat").read_text().split()[0] for task in tasks.iterdir()]
    return sum(map(int, spent)) / 1e9


def asked(one: Server) -> str:
    """Return one answer of a server."""
    url = f"http://127.0.0.1:{one.said['port']}{one.said['paths'][0]}"
    request = Request(url, headers={"Authorization": f"Bearer {one.said['token']}"})
    with urlopen(request) as answer:  # noqa: S310
        return str(answer.read().decode())


def in_turn(paths: Sequence[str], head: str) -> Iterator[bytes]:
    """Return GET requests for all paths, over and over."""
    requests = [f"GET {path} HTTP/1.1\r\nHost: ledger\r\n{head}\r\n".encode() for path in paths]
    return itertools.cycle(requests)


@contextmanager
def together(*kinds: str) -> Generator[dict[str, Server]]:
    """Give several servers at once; each idles while another is measured."""
    with ExitStack() as running:
        yield {kind: running.enter_context(server(kind)) for kind in kinds}
