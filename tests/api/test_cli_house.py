"""The command line against the product: from the first start to an audit without a server."""

import asyncio
import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

from shipslog.api.wire.shapes import Status

from ..system.installation import Installation

STAGING = "{kind: Environment, name: staging, platform: {kind: processes}}"
LAB = """\
kind: Pipeline
name: lab
service: lab
stages:
  - {name: say, run: ["python", "-c", "print('said')"]}
  - {name: end, needs: [say], run: ["python", "-c", "import sys; sys.exit('{version}' == '6.6.6')"]}
"""
SLOW = """\
{kind: Pipeline, name: slow, service: slow, stages: [{name: sleep, run: ["sleep", "100"]}]}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    here = Installation(tmp_path_factory.mktemp("house"))
    try:
        here.start()
        for text in (STAGING, LAB, SLOW):
            apply(here, text)
        yield here
    finally:
        here.end()


@pytest.fixture(scope="module")
def done(house: Installation) -> str:
    ran = house.run("deploy", "lab", "1.0.0", "staging", "--wait", "--reason", "a trial")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def apply(house: Installation, text: str) -> str:
    file = house.log.with_name("applied.yaml")
    file.write_text(text)
    ran = house.run("apply", str(file))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def shown(house: Installation, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    ran = house.run(*arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def statuses(house: Installation, deployment: str, positions: list[int]) -> list[Status]:
    async with house.client() as client:
        return [await client.deployment(deployment, as_of=str(p)) for p in positions]


def test_the_configuration_is_its_owners_alone(house: Installation) -> None:
    place = house.configuration / "shipslog/config.toml"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_applying_twice_changes_nothing(house: Installation) -> None:
    before = shown(house, "db", "status")["position"]
    assert apply(house, LAB) == "Pipeline\tlab\tunchanged\n"
    assert shown(house, "db", "status")["position"] == before
    assert apply(house, LAB.replace("said", "told")) == "Pipeline\tlab\tchanged\n"
    assert apply(house, LAB) == "Pipeline\tlab\tchanged\n"


def test_a_fault_in_any_file_applies_none(house: Installation, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(STAGING.replace("staging", "other"))
    bad.write_text(LAB + "colour: red\n")
    ran = house.run("apply", str(good), str(bad))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "bad.yaml:7" in ran.stderr
    assert "colour" in ran.stderr
    assert house.run("apply", "nowhere.yaml").returncode == 2
    assert "other" not in house.run("events").stdout


def test_a_plan_is_shown_and_nothing_is_written(house: Installation) -> None:
    before = shown(house, "db", "status")["position"]
    ran = house.run("plan", "lab", "1.0.0", "staging")
    assert (ran.returncode, ran.stdout) == (0, "say\trun\t\t600s\nend\trun\tsay\t600s\n")
    assert ran.stderr.startswith("plan sha256:")
    assert shown(house, "plan", "lab", "1.0.0", "staging")["plan"]["service"] == "lab"
    assert shown(house, "db", "status")["position"] == before


def test_a_failure_ends_with_1_and_its_document(house: Installation) -> None:
    ran = house.run("deploy", "lab", "6.6.6", "staging", "--wait", "--json")
    assert ran.returncode == 1
    document = json.loads(ran.stdout)
    assert (document["status"], document["stages"][1]["status"]) == ("failed", "failed")
    assert house.run("get", document["id"], "--watch").returncode == 1
    assert house.run("status", document["id"]).returncode == 1


def test_what_was_deployed_is_found_again(house: Installation, done: str) -> None:
    assert shown(house, "get", done)["reason"] == "a trial"
    assert done in house.run("list", "--service", "lab", "--status", "succeeded").stdout
    assert house.run("list", "--service", "nothing").stdout == ""
    assert done in house.run("history", "staging", "lab").stdout
    assert "staging\tlab\t" in house.run("where", "--service", "lab").stdout
    assert house.run("output", done, "say").stdout == "said\n"
    assert house.run("output", done, "nothing").returncode == 2
    assert f"deployment:{done}" in house.run("events", "--topic", "deployment.succeeded").stdout
    assert shown(house, "events", "--limit", "2")["next"] == "2"


def test_an_action_answers_with_the_deployment_it_made_or_why_not(
    house: Installation, done: str
) -> None:
    aborted = house.run("abort", done)
    assert (aborted.returncode, aborted.stdout) == (5, "")
    assert "Possible now: " in aborted.stderr
    again = house.run("retry", done).stdout.strip()
    assert house.run("get", again, "--watch").returncode == 0
    assert shown(house, "get", again)["retry_of"] == done
    assert house.run("pause", done).returncode == 2, "not built yet"
    assert house.run("get", "no-such-id").returncode == 2


def test_a_running_one_is_aborted(house: Installation) -> None:
    running = house.run("deploy", "slow", "1.0.0", "staging").stdout.strip()
    waited = house.run("get", running, "--watch", "--timeout", "200ms")
    assert waited.returncode == 124
    assert house.run("status", running).returncode == 3
    assert house.run("abort", running, "--reason", "enough").returncode == 0
    assert house.run("get", running, "--watch").returncode == 1
    assert house.run("status", running).stdout.startswith("aborted\t")


def test_a_key_makes_one_deployment_of_two_calls(house: Installation) -> None:
    ordered = ("deploy", "lab", "2.0.0", "staging", "--idempotency-key", "once")
    first, second = house.run(*ordered), house.run(*ordered)
    assert first.stdout == second.stdout
    other = house.run("deploy", "lab", "2.0.1", "staging", "--idempotency-key", "once")
    assert other.returncode == 2


def test_a_token_says_who_may_do_what(house: Installation) -> None:
    viewer = shown(house, "token", "create", "vera", "--role", "viewer", "--expires", "1h")
    assert viewer.keys() >= {"id", "subject", "role", "token"}
    ordered = ("deploy", "lab", "3.0.0", "staging")
    house.environment["SHIPSLOG_TOKEN"] = viewer["token"]
    try:
        assert house.run("where").returncode == 0
        denied = house.run(*ordered)
        assert denied.returncode == 6
        assert "permission" in denied.stderr
    finally:
        del house.environment["SHIPSLOG_TOKEN"]
    assert viewer["id"] in house.run("token", "list").stdout
    assert house.run("token", "revoke", viewer["id"]).returncode == 0
    assert viewer["id"] not in house.run("token", "list").stdout
    assert house.run("token", "revoke", viewer["id"]).returncode == 2
    assert house.run("token", "create", "vera", "--role", "queen").returncode == 2


def test_every_replayed_state_is_what_was_served_there(house: Installation, done: str) -> None:
    replayed = shown(house, "replay", done)["items"]
    assert [step["event"]["topic"] for step in replayed][-1] == "deployment.succeeded"
    served = asyncio.run(statuses(house, done, [step["event"]["position"] for step in replayed]))
    assert [step["state"] for step in replayed] == served
    served = shown(house, "events", "--stream", f"deployment:{done}")["items"]
    assert [step["event"] for step in replayed] == served


def test_a_replay_stops_where_it_is_told(house: Installation, done: str) -> None:
    whole = shown(house, "replay", done)["items"]
    for when in (str(whole[2]["event"]["position"]), whole[2]["event"]["recorded_at"]):
        part = shown(house, "replay", done, "--as-of", when)["items"]
        assert part[:3] == whole[:3]
        assert {step["event"]["recorded_at"] for step in part[2:]} == {
            whole[2]["event"]["recorded_at"]
        }
    assert shown(house, "replay", "target:staging/lab")["items"][0]["state"]["version"] == 1
    assert house.run("replay", done, "--as-of", "99999").returncode == 2
    assert house.run("replay", done, "--as-of", "yesterday").returncode == 2
    assert house.run("replay", done, "--all").returncode == 2
    assert house.run("replay").returncode == 2
    assert house.run("replay", "no-such-id").returncode == 2


def test_the_whole_log_is_replayed_and_holds_together(house: Installation, done: str) -> None:
    counted = shown(house, "replay", "--all")
    assert counted["topics"]["deployment.succeeded"] >= 1, done
    assert sum(counted["topics"].values()) == counted["position"]
    assert shown(house, "replay", "--check") == {"findings": [], "differences": []}
    assert shown(house, "verify")["findings"] == []


def test_a_changed_byte_is_found(house: Installation, done: str, tmp_path: Path) -> None:
    copied = copytree(house.data, tmp_path / "copy", ignore=ignore_patterns("agent", "lock"))
    with sqlite3.connect(copied / "ledger.db") as db:
        triggers = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            db.execute(f'DROP TRIGGER "{trigger}"')
        db.execute(
            "UPDATE stored_events SET state ="
            " CAST(replace(CAST(state AS TEXT), 'succeeded', 'sUcceeded') AS BLOB)"
            " WHERE originator_id = ?",
            (f"deployment:{done}",),
        )
    db.close()
    house.environment["SHIPSLOG_DATA"] = str(copied)
    try:
        assert house.run("verify").returncode == 1
        assert house.run("replay", "--check").returncode == 1
    finally:
        house.environment["SHIPSLOG_DATA"] = str(house.data)


def test_a_rebuild_goes_through_the_server(house: Installation) -> None:
    assert shown(house, "rebuild")["events"] > 0
    assert shown(house, "rebuild", "--stream", "target:staging/lab")["events"] > 0
    assert house.run("rebuild", "--stream", "target:staging/nothing").returncode == 2


def test_without_its_server_the_store_is_used_under_its_lock(
    house: Installation, done: str
) -> None:
    house.environment["XDG_CONFIG_HOME"] = str(house.configuration) + "-none"
    locked = house.run("rebuild")
    assert locked.returncode != 0
    assert "has the store" in locked.stderr
    house.environment["XDG_CONFIG_HOME"] = str(house.configuration)
    house.stop()
    try:
        assert house.run("where").returncode == 1
        assert shown(house, "rebuild")["events"] > 0
        admin = shown(house, "token", "create", "ada", "--role", "admin")
        assert shown(house, "replay", done)["items"]
    finally:
        house.start()
    house.environment["SHIPSLOG_TOKEN"] = admin["token"]
    try:
        assert house.run("token", "revoke", admin["id"]).returncode == 0
        assert house.run("where").returncode == 6
    finally:
        del house.environment["SHIPSLOG_TOKEN"]
    assert house.run("where").returncode == 0, "the first token is kept over a restart"


def test_exports_are_not_built(house: Installation) -> None:
    ran = house.run("export", "--format", "ndjson")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no exports yet" in ran.stderr
