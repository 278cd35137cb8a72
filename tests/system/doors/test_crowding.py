"""A hundred who want one target at once, each over a connection of its own (F13)."""

from __future__ import annotations

import asyncio
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg
import pytest

from shipslog.api.client import Client
from shipslog.api.user_config import Server
from shipslog.domain.deployment import FINAL
from shipslog.domain.event import Recorded
from shipslog.domain.target import Target
from tests.invariants import violations

from ..apart.cluster import Cluster
from ..documents import environment, pipeline
from ..installation import Installation, define, ended
from .asking import log_of

CLAIMS = 100
QUERY = "SELECT stream FROM {}work WHERE stream LIKE 'deployment:%'"
WAITS = {"queue": "1ms", "refuse": "1h"}
"""By policy: how long a deployment holds its target."""

pytestmark = pytest.mark.system


class House(NamedTuple):
    """A real server, and what lies under it."""

    server: Server
    log: Callable[[], list[Recorded]]
    due: Callable[[], set[str]]
    """Which deployments somebody has or will have to look at."""


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


@pytest.fixture(params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    if request.param == "sqlite":
        here: Installation = request.getfixturevalue("here")
        yield House(server_of(here.configuration), lambda: log_of(here.data), lambda: due_in(here))
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    cluster.start_all(workers=1)
    yield House(server_of(cluster.folder / "config"), cluster.log, lambda: due_at(cluster))


@pytest.mark.parametrize("policy", WAITS)
async def test_of_a_hundred_connections_that_claim_a_target_one_holds_it(
    house: House, policy: str
) -> None:
    # F13
    where, name = f"crowded-{policy}", f"crowd-{policy}"
    document = environment(where) | {"concurrency": policy}
    async with Client(house.server) as client:
        await define(client, document, pipeline(name, {"name": "rest", "wait": WAITS[policy]}))
        before = len(house.log())
        answers = await claim(house.server, name, where)
        accepted = [answer.body["id"] for answer in answers if answer.status == 202]
        if policy == "queue":
            assert {answer.status for answer in answers} == {202}
            done = await ended(client, accepted)
            assert Counter(status["status"] for status in done) == {"succeeded": CLAIMS}
        else:
            assert Counter(answer.status for answer in answers) == {202: 1, 409: CLAIMS - 1}
            refused = [answer.body for answer in answers if answer.status == 409]
            assert {body["type"] for body in refused} == {"urn:shipslog:problem:target-busy"}
            assert {body["holder"] for body in refused} == set(accepted)
            await client.act(accepted[0], "abort", {}, key="enough")
            await ended(client, accepted)
    log = house.log()
    assert not violations(log)
    new = [event for event in log[before:] if event.header.environment == where]
    assert {event.header.deployment for event in new if event.header.deployment} == set(accepted)
    assert len(holders(new)) == len(accepted)
    assert sum(event.header.topic == "deployment.requested" for event in new) == len(accepted)
    assert sum(event.header.topic in ENDINGS for event in new) == len(accepted)
    assert not house.due() & {f"deployment:{one}" for one in accepted}


ENDINGS = {f"deployment.{status}" for status in FINAL}


async def claim(server: Server, name: str, where: str) -> list[Answer]:
    """Ask for a hundred versions at once, over as many connections, and return the answers."""
    opened: list[object] = []

    async def note(*_: object) -> None:
        opened.append(None)

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(note)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(
        server.url,
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        trace_configs=[tracing],
    ) as session:

        async def ask(number: int) -> Answer:
            body = {"pipeline": name, "version": f"1.0.{number}", "environment": where}
            async with session.post("/v1/deployments", json=body) as answer:
                return Answer(answer.status, await answer.json(content_type=None))

        answers = await asyncio.gather(*map(ask, range(CLAIMS)))
    assert len(opened) == CLAIMS
    return answers


def holders(log: list[Recorded]) -> list[str]:
    """Return who has held the target, in order; nobody holds it who has not let go before."""
    found: list[str] = []
    holder: str | None = None
    for event in (recorded.event for recorded in log):
        if isinstance(event, Target.Held):
            assert holder is None, f"{event.deployment} holds what {holder} holds"
            holder = event.deployment
            found.append(holder)
        elif isinstance(event, Target.Released):
            assert holder == event.deployment
            holder = None
    assert len(set(found)) == len(found)
    return found


def server_of(configuration: Path) -> Server:
    stored = tomllib.loads((configuration / "shipslog/config.toml").read_text())
    return Server(stored["url"], stored["token"])


def due_in(here: Installation) -> set[str]:
    with closing(sqlite3.connect(f"file:{here.data}/ledger.db?mode=ro", uri=True)) as connection:
        return {row[0] for row in connection.execute(QUERY.format(""))}


def due_at(cluster: Cluster) -> set[str]:
    with psycopg.connect(cluster.url) as connection:
        return {row[0] for row in connection.execute(QUERY.format("shipslog.").encode())}
