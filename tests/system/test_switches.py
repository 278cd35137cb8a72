"""Switches under load: no request fails or is cut, and the way back is short."""

from datetime import datetime
from typing import Any

import pytest

from shipslog.api.client import Client
from shipslog.api.wire.shapes import Status

from .documents import environment, web
from .installation import Installation, define, deployed, free_address
from .load import Load

SWITCHES, RATE = 20, 220
LEAST_RATE = 200
BACK_SECONDS = 1.0

pytestmark = pytest.mark.system


async def test_twenty_switches_under_load_cost_no_request(installation: Installation) -> None:
    users = free_address()
    versions = [f"1.0.{n}" for n in range(SWITCHES + 1)]
    async with installation.client() as client:
        await define(client, environment("staging", web=users), web())
        await succeeds(client, versions[0])
        with Load(users, RATE) as load:
            for version in versions[1:]:
                await succeeds(client, version)
            report = load.report()
        events = await items(client, "/v1/events", stream="target:staging/web")
    assert (report["failed"], report["failures"]) == (0, [])
    assert report["rate"] >= LEAST_RATE
    assert min(report["kinds"].values()) > 0
    assert set(report["versions"]) == set(versions)
    assert sum(event["topic"] == "target.routed" for event in events) == SWITCHES + 1


@pytest.mark.parametrize("capacity", [1, 6])
async def test_the_way_back_takes_under_a_second(installation: Installation, capacity: int) -> None:
    users = free_address()
    async with installation.client() as client:
        await define(client, environment("staging", web=users), web(capacity=capacity))
        await succeeds(client, "1.0.0")
        await client.put(
            "/v1/pipelines/web",
            web(capacity=capacity, monitor="60s"),
            etag=(await client.get("/v1/pipelines/web")).etag,
        )
        with Load(users, RATE) as load:
            broken = await deployed(client, "web", "4.0.0", "staging")
            report = load.report()
        events = await items(client, f"/v1/deployments/{broken['id']}/events")
    assert broken["status"] == "rolled_back"
    assert (report["failed"], report["failures"]) == (0, [])
    verdict = next(
        datetime.fromisoformat(event["occurred_at"])
        for event in events
        if event["topic"] == "deployment.stage_finished" and event["payload"]["outcome"] == "failed"
    )
    last = datetime.fromisoformat(report["versions"]["4.0.0"]["last_started_at"])
    assert (last - verdict).total_seconds() < BACK_SECONDS


async def succeeds(client: Client, version: str) -> Status:
    status = await deployed(client, "web", version, "staging")
    assert status["status"] == "succeeded", status
    return status


async def items(client: Client, path: str, **params: str) -> list[dict[str, Any]]:
    return [item async for item in client.items(path, **params)]
