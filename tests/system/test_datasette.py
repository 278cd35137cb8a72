"""A real third-party service: two released versions, each installed by its own build stage."""

import json
from typing import Any

import aiohttp
import pytest

from shipslog.adapters.documents.files import read_files

from .installation import ROOT, Installation, define, deployed, free_address

VERSIONS = ("0.64.8", "0.65.5")

pytestmark = pytest.mark.system


async def test_two_released_versions_of_datasette_take_turns_on_one_route(
    installation: Installation,
) -> None:
    users = free_address()
    environment, pipeline = (
        document.checked().document()
        for document in read_files([ROOT / "examples/datasette/shipslog.yaml"])
    )
    environment["platform"]["routes"]["datasette"] = users
    async with installation.client() as client:
        await define(client, environment, pipeline)
        for version in VERSIONS:
            status = await deployed(client, "datasette", version, "public")
            assert status["status"] == "succeeded", json.dumps(status, indent=1)
            assert (await asked(users, "/-/versions.json"))["datasette"]["version"] == version
            ships = await asked(users, "/ships/ships.json?_shape=array&_sort=launched")
            assert [ship["name"] for ship in ships] == ["Vasa", "Götheborg", "Cutty Sark", "Fram"]


async def asked(address: str, path: str) -> Any:  # noqa: ANN401 - JSON
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        assert answer.status == 200
        return await answer.json()
