"""GET of a status document, beside a bare aiohttp handler of the same bytes; `--quick` for a look.

`memory`: the answer is kept ready; `database`: nothing is kept, every answer is read and made.
Server and client are processes of their own; the servers are measured in turn, several rounds.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.http.measured import Line, asked, compare, in_turn, server, together

LINES = (Line("memory", "bare", 0.90), Line("database", "bare", 0.65))


def requests(said: dict[str, Any]) -> Iterator[bytes]:
    """Return the requests to a server."""
    return in_turn(said["paths"], f"Authorization: Bearer {said['token']}\r\n")


def main() -> None:
    """Print what an answer costs, ours and the limit."""
    with together("memory", "database") as ours, server("bare", asked(ours["memory"])) as bare:
        compare({"bare": bare, **ours}, requests, LINES)


if __name__ == "__main__":
    main()
