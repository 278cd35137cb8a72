"""F40: ten thousand clients ask how a deployment stands, and others are deployed meanwhile."""

import pytest

from tests.system.documents import environment, pipeline
from tests.system.installation import Installation, define, deployed

from .crowd import crowd, most
from .figures import memory_megabytes, seconds, stored

CLIENTS = 10_000
MEMORY_MEGABYTES = 600
DEPLOYMENTS = 3

pytestmark = pytest.mark.system


async def test_f40_ten_thousand_who_ask_are_answered_while_others_are_deployed(
    installation: Installation,
) -> None:
    clients = most(CLIENTS)
    stages = [{"name": f"step-{number}", "run": ["true"]} for number in range(2)]
    async with installation.client() as client:
        await define(client, environment("staging"), pipeline("web", *stages))
        calm = [await deployed(client, "web", f"1.0.{n}", "staging") for n in range(DEPLOYMENTS)]
        path = f"/v1/deployments/{calm[0]['id']}"
        token = stored(installation)["token"]
        async with crowd(installation.address, clients, path, token) as asking:
            await asking.answered(clients)
            loaded = [
                await deployed(client, "web", f"2.0.{n}", "staging") for n in range(DEPLOYMENTS)
            ]
            await asking.answered(2 * clients)
            used = memory_megabytes(installation)
    assert {status["status"] for status in (*calm, *loaded)} == {"succeeded"}
    assert asking.broken == 0
    assert set(asking.statuses) <= {200, 503}
    assert asking.statuses[200] >= 0.99 * asking.statuses.total()
    assert used < MEMORY_MEGABYTES
    print(f"calm {seconds(calm):.3f} s, loaded {seconds(loaded):.3f} s, {used:.0f} MB")  # noqa: T201 - for who looks
