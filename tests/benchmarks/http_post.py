"""POST of a deployment, durable when it is answered, beside handlers that keep nothing.

`bare` reads the document and answers with equal bytes. `one target` has all its deployments in one
line, which grows all the while. `--quick` for a look.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.figures import Goal
from tests.benchmarks.http.measured import asked, compare, server
from tests.benchmarks.http.serving import REQUEST, environment_of

MANY, ONE, BARE = "POST, many targets", "POST, one target", "bare aiohttp"
GOALS = (Goal(MANY, BARE, 0.70), Goal(ONE, BARE, 0.70))


def requests(said: dict[str, Any]) -> Iterator[bytes]:
    """Return requests to a server: to one target or to one after the other."""
    head = f"Authorization: Bearer {said['token']}\r\nContent-Type: application/json\r\n"
    for number in itertools.count():
        where = environment_of(0 if said["kind"] == "line" else number)
        body = msgspec.json.encode(REQUEST | {"environment": where})
        line = f"POST /v1/deployments HTTP/1.1\r\nHost: ledger\r\n{head}"
        yield f"{line}Content-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    """Print what an answer costs, ours and the limit."""
    with server("many") as many, server("line") as line, server("bare", asked(many)) as bare:
        compare({BARE: bare, MANY: many, ONE: line}, requests, GOALS)


if __name__ == "__main__":
    main()
