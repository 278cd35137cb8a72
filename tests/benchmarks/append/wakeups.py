"""What wake-ups cost (F35): an append's p99 with and without them, in turn; `--quick` for a look.

So many appends a second are asked for, whatever comes of those before, while other processes
follow: each wake-up lets all of them ask for the head.
"""

import asyncio
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from shipslog.adapters.store.postgres.store import PostgresStore
from tests.benchmarks.append.appenders import drafts
from tests.benchmarks.figures import Goal, told
from tests.databases import fresh_ledger, make_template, running_server

ROOT = Path(__file__).parents[3]
QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
SECONDS = 1.5 if QUICK else 6.0
RATE, CLIENTS = 5_000, 250
FOLLOWERS = 4
WITH, WITHOUT = "p99 with wake-ups", "p99 without"


class Silent:
    """Tells nobody anything."""

    def are_due(self) -> bool:
        return False

    async def close(self) -> None:
        """Have nothing left to tell."""


async def p99(url: str, *, silent: bool) -> float:
    """Return the milliseconds within which 99 of 100 appends were durable."""
    store = await PostgresStore.open(url)
    if silent:
        vars(vars(store)["_writer"])["_news"] = Silent()
    taken: list[float] = []
    each = int(SECONDS * RATE / CLIENTS)
    begin = time.perf_counter() + 0.1

    async def client(number: int) -> None:
        stream = f"deployment:{uuid.uuid4()}"
        for n in range(each):
            due = begin + (n + number / CLIENTS) * CLIENTS / RATE
            await asyncio.sleep(due - time.perf_counter())
            asked = time.perf_counter()
            await store.log.append(drafts(stream, n + 1, 1))
            taken.append(time.perf_counter() - asked)

    await asyncio.gather(*map(client, range(CLIENTS)))
    await store.close()
    return sorted(taken)[len(taken) * 99 // 100] * 1000


async def follow(url: str) -> None:
    """Follow the head until killed."""
    store = await PostgresStore.open(url)
    position = await store.log.head()
    print("ready", flush=True)
    while True:
        position = await store.log.wait_beyond(position, 1.0)


def main() -> None:
    found: dict[str, list[float]] = defaultdict(list)
    with running_server(shared_buffers="256MB") as server:
        make_template(server)
        with fresh_ledger(server) as url:
            program = [sys.executable, "-m", "tests.benchmarks.append.wakeups", "follow", url]
            followers = [
                subprocess.Popen(program, cwd=ROOT, text=True, stdout=subprocess.PIPE)
                for _ in range(FOLLOWERS)
            ]
            try:
                for follower in followers:
                    assert follower.stdout
                    assert follower.stdout.readline() == "ready\n"
                for _ in range(ROUNDS):
                    found[WITH].append(asyncio.run(p99(url, silent=False)))
                    found[WITHOUT].append(asyncio.run(p99(url, silent=True)))
            finally:
                for follower in followers:
                    follower.kill()
                    follower.communicate()
    told(found, "ms", [Goal(WITH, WITHOUT, 1.2, most=True)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["follow"]:
        asyncio.run(follow(sys.argv[2]))
    else:
        main()
