"""What an operator sees of a lost tail, and does about it, on real processes."""

import asyncio
import json
from pathlib import Path

import pytest

from ..apart.cluster import END_SECONDS, Cluster
from ..apart.test_workers import gated, journal
from ..crashing.conditions import soon
from ..documents import environment
from ..installation import define, deployed, request
from .conftest import LEDGER
from .load import SOON_SECONDS
from .pair import running

SAID = "The log has lost events that were seen"

pytestmark = pytest.mark.system


async def test_effects_stop_where_the_tail_is_lost_and_go_on_once_that_is_accepted(
    prepared: Path, folder: Path
) -> None:
    # F9
    with running(prepared, folder, is_synchronous=False) as servers:
        here = Cluster(servers.url(LEDGER), folder)
        try:
            here.start_all(1)
            async with here.client() as client:
                await define(client, environment("staging"), gated(here.folder))
                await asyncio.to_thread(servers.standby.stop)
                await request(client, "lab", "1.0.0", "staging")
            assert soon(lambda: journal(here), SOON_SECONDS)
            await asyncio.to_thread(servers.take_over)
            for process in here.processes:
                assert await asyncio.to_thread(process.wait, END_SECONDS) == 1
            assert all(SAID in here.said(verb) for verb in ("serve", "worker"))
            refuses_until_accepted(here)
            # Its agent has seen fences of what is gone, and lives on.
            (here.folder / "go").touch()
            assert len(journal(here)) == 1
            here.start_all(1)
            async with here.client() as client:
                assert (await deployed(client, "lab", "1.0.0", "staging"))["status"] == "succeeded"
            assert len(journal(here)) == 3
        finally:
            here.end()


def refuses_until_accepted(here: Cluster) -> None:
    """Ask as an operator does; nothing goes on before the last word."""
    refused = here.run("worker")
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert SAID in refused.stderr
    checked = here.run("db", "check")
    assert (checked.returncode, SAID in checked.stdout) == (1, True), checked.stderr
    status = json.loads(here.run("db", "status", "--json").stdout)
    assert (status["timeline"], status["lost"][: len(SAID)]) == (2, SAID)
    assert status["position"] < status["seen"]
    accepted = here.run("db", "accept", "--json")
    assert json.loads(accepted.stdout)["lost"] == status["lost"]
