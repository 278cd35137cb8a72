"""How long a deployment takes while ten thousand clients ask for a status, beside a calm server.

`shipslog up` on the embedded store; calm and crowded deployments in turn, by the log's own times.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from shipslog.api.client import Client
from tests.benchmarks.figures import line
from tests.system.crowds.crowd import crowd, most
from tests.system.crowds.figures import memory_megabytes, seconds, stored
from tests.system.documents import environment, pipeline
from tests.system.installation import Installation, define, deployed

CLIENTS = 10_000
ROUNDS = 2 if "--quick" in sys.argv else 5
DEPLOYMENTS = 3
GOAL = 2.0


async def measure(installation: Installation, clients: int) -> None:
    """Print the medians of both, and their ratio."""
    stages = [{"name": f"step-{number}", "run": ["true"]} for number in range(3)]
    calm: list[float] = []
    crowded: list[float] = []
    async with installation.client() as client:
        await define(client, environment("staging"), pipeline("web", *stages))
        first = await deployed(client, "web", "1.0.0", "staging")
        path, token = f"/v1/deployments/{first['id']}", stored(installation)["token"]
        for _ in range(ROUNDS):
            calm.append(await a_few(client))
            async with crowd(installation.address, clients, path, token) as asking:
                await asking.answered(clients)
                crowded.append(await a_few(client))
            print(f"{clients:,} clients got {dict(asking.statuses)}, {asking.broken} were cut off")
    ratio = median(crowded) / median(calm)
    print(f"calm {median(calm):.3f} s, crowded {median(crowded):.3f} s a deployment")
    print(f"memory of the server {memory_megabytes(installation):.0f} MB")
    print(line("a deployment, 10,000 clients", "none", ratio, GOAL, most=True))


async def a_few(client: Client) -> float:
    """Return the median time of a few deployments, one after the other."""
    return seconds([await deployed(client, "web", "2.0.0", "staging") for _ in range(DEPLOYMENTS)])


def main() -> None:
    """Run it on an installation of its own."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder))
        try:
            installation.start()
            asyncio.run(measure(installation, most(CLIENTS)))
        finally:
            installation.end()


if __name__ == "__main__":
    main()
