"""Notifications are hints: where every one is lost, a look at least each second is the truth.

`SHIPSLOG_TEST_CHANGES`: so many changes are waited for.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

from shipslog.api.client import Client
from shipslog.api.wire.shapes import ProblemError
from shipslog.domain.ledger import Receipt

from ..apart.cluster import Cluster
from ..crashing.conditions import eventually
from .deaf import Deaf
from .family import SOON_SECONDS, Family, Nursery
from .writing import id_of, people_at

CHANGES = int(os.environ.get("SHIPSLOG_TEST_CHANGES") or 1)

pytestmark = pytest.mark.system


async def test_where_no_notification_arrives_all_is_seen_all_the_same(
    cluster: Cluster, nursery: Nursery
) -> None:
    # F34: the server that moves the read models, and one that reads what another has moved
    async with Deaf(cluster.url) as network:
        with Family(cluster, nursery) as family:
            servers = [
                await asyncio.to_thread(family.serve, SHIPSLOG_DATABASE_URL=network.url)
                for _ in range(2)
            ]
            async with (
                people_at(cluster) as people,
                family.client(servers[0]) as first,
                family.client(servers[1]) as second,
            ):
                asked = [await people.ask_once() for _ in range(CHANGES)]
                seen = [lag(client, one) for one in asked for client in (first, second)]
                # What is kept ready from now on is what has to be dropped in time.
                lags = [[*await asyncio.gather(*seen)]]
                for one in asked:
                    aborted = await people.abort(one)
                    seen = [lag(client, aborted) for client in (first, second)]
                    lags.append(await asyncio.gather(*seen))
            assert network.lost >= CHANGES
    sys.stderr.write(f"without a notification, both servers: new {lags[0]} s, then {lags[1:]} s\n")


async def lag(client: Client, receipt: Receipt) -> float:
    """Return after how many seconds a server shows by itself what was written."""
    asked_at = time.monotonic()

    async def is_seen() -> bool:
        try:
            status = await client.deployment(id_of(receipt))
        except ProblemError:
            return False
        return status["position"] >= receipt.first

    assert await eventually(is_seen, SOON_SECONDS)
    return round(time.monotonic() - asked_at, 2)
