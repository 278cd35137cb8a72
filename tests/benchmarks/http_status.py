"""GET of a status document, beside a bare aiohttp handler of the same bytes; `--quick` for a look.

`memory`: the answer is kept ready; `database`: nothing is kept, every answer is read and made.
Server and client are processes of their own; the servers are measured in turn, several rounds.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.figures import Goal
from tests.benchmarks.http.measured import asked, compare, in_turn, server, together

MEMORY, DATABASE, BARE = "GET status, memory", "GET status, database", "bare aiohttp"
GOALS = (Goal(MEMORY, BARE, 0.90), Goal(DATABASE, BARE, 0.65))


def requests(said: dict[str, Any]) -> Iterator[bytes]:
    """Return the requests to a server."""
    return in_turn(said["paths"], f"Authorization: Bearer {said['token']}\r\n")


def main() -> None:
    """Print what an answer costs, ours and the limit."""
    with together("memory", "database") as ours, server("bare", asked(ours["memory"])) as bare:
        servers = {BARE: bare, MEMORY: ours["memory"], DATABASE: ours["database"]}
        compare(servers, requests, GOALS)


if __name__ == "__main__":
    main()
