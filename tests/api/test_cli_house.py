"""The command line against the product: from the first start to an audit without a server.

Its verbs run in this process; that they do in one of their own is shown elsewhere.
"""

import asyncio
import json
import sqlite3
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any
from unittest.mock import patch

import pytest

from shipslog.api.wire.shapes import Status

from ..system.installation import SHIPSLOG, Installation
from .run_cli import Ran, run_here

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
    ran = run(house, "deploy", "lab", "1.0.0", "staging", "--wait", "--reason", "a trial")
    assert ran.code == 0, ran.err
    return ran.out.strip()


def run(house: Installation, *arguments: str) -> Ran:
    return run_here(arguments, house.environment)


def apply(house: Installation, text: str) -> str:
    file = house.log.with_name("applied.yaml")
    file.write_text(text)
    ran = run(house, "apply", str(file))
    assert ran.code == 0, ran.err
    return ran.out


def shown(house: Installation, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    ran = run(house, *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


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
    ran = run(house, "apply", str(good), str(bad))
    assert (ran.code, ran.out) == (2, "")
    assert "bad.yaml:7" in ran.err
    assert "colour" in ran.err
    assert run(house, "apply", "nowhere.yaml").code == 2
    assert "other" not in run(house, "events").out


def test_a_plan_is_shown_and_nothing_is_written(house: Installation) -> None:
    before = shown(house, "db", "status")["position"]
    ran = run(house, "plan", "lab", "1.0.0", "staging")
    assert (ran.code, ran.out) == (0, "say\trun\t\t600s\nend\trun\tsay\t600s\n")
    assert ran.err.startswith("plan sha256:")
    assert shown(house, "plan", "lab", "1.0.0", "staging")["plan"]["service"] == "lab"
    assert shown(house, "db", "status")["position"] == before


def test_a_failure_ends_with_1_and_its_document(house: Installation) -> None:
    ran = run(house, "deploy", "lab", "6.6.6", "staging", "--wait", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert (document["status"], document["stages"][1]["status"]) == ("failed", "failed")
    assert run(house, "get", document["id"], "--watch").code == 1
    assert run(house, "status", document["id"]).code == 1


def test_what_was_deployed_is_found_again(house: Installation, done: str) -> None:
    assert shown(house, "get", done)["reason"] == "a trial"
    assert done in run(house, "list", "--service", "lab", "--status", "succeeded").out
    assert run(house, "list", "--service", "nothing").out == ""
    assert done in run(house, "history", "staging", "lab").out
    assert "staging\tlab\t" in run(house, "where", "--service", "lab").out
    assert run(house, "output", done, "say").out == "said\n"
    assert run(house, "output", done, "nothing").code == 2
    assert f"deployment:{done}" in run(house, "events", "--topic", "deployment.succeeded").out
    assert shown(house, "events", "--limit", "2")["next"] == "2"


def test_an_action_answers_with_the_deployment_it_made_or_why_not(
    house: Installation, done: str
) -> None:
    aborted = run(house, "abort", done)
    assert (aborted.code, aborted.out) == (5, "")
    assert "Possible now: " in aborted.err
    again = run(house, "retry", done).out.strip()
    assert run(house, "get", again, "--watch").code == 0
    assert shown(house, "get", again)["retry_of"] == done
    assert run(house, "pause", done).code == 2, "not built yet"
    assert run(house, "get", "no-such-id").code == 2


def test_a_running_one_is_aborted(house: Installation) -> None:
    running = run(house, "deploy", "slow", "1.0.0", "staging").out.strip()
    waited = run(house, "get", running, "--watch", "--timeout", "200ms")
    assert waited.code == 124
    assert run(house, "status", running).code == 3
    assert run(house, "abort", running, "--reason", "enough").code == 0
    assert run(house, "get", running, "--watch").code == 1
    assert run(house, "status", running).out.startswith("aborted\t")


def test_a_watch_goes_on_over_a_killed_server(house: Installation) -> None:
    running = run(house, "deploy", "slow", "1.0.0", "staging").out.strip()
    command = [SHIPSLOG, "get", running, "--watch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=house.environment, stdout=pipe, stderr=pipe, text=True
    ) as watching:
        assert watching.stdout
        begun = [watching.stdout.readline().split("\t")[2] for _ in range(3)]
        house.kill()
        house.start()
        assert run(house, "abort", running).code == 0
        rest, said = watching.communicate(timeout=60)
    told = [*begun, *(line.split("\t")[2] for line in rest.splitlines())]
    written = shown(house, "events", "--stream", f"deployment:{running}")["items"]
    assert told == [event["topic"] for event in written], said
    assert told[-1] == "deployment.aborted"
    assert watching.returncode == 1


def test_a_key_makes_one_deployment_of_two_calls(house: Installation) -> None:
    ordered = ("deploy", "lab", "2.0.0", "staging", "--idempotency-key", "once")
    first, second = run(house, *ordered), run(house, *ordered)
    assert first.out == second.out
    other = run(house, "deploy", "lab", "2.0.1", "staging", "--idempotency-key", "once")
    assert other.code == 2


def test_a_token_says_who_may_do_what(house: Installation) -> None:
    viewer = shown(house, "token", "create", "vera", "--role", "viewer", "--expires", "1h")
    assert viewer.keys() >= {"id", "subject", "role", "token"}
    ordered = ("deploy", "lab", "3.0.0", "staging")
    house.environment["SHIPSLOG_TOKEN"] = viewer["token"]
    try:
        assert run(house, "where").code == 0
        denied = run(house, *ordered)
        assert denied.code == 6
        assert "permission" in denied.err
    finally:
        del house.environment["SHIPSLOG_TOKEN"]
    assert viewer["id"] in run(house, "token", "list").out
    assert run(house, "token", "revoke", viewer["id"]).code == 0
    assert viewer["id"] not in run(house, "token", "list").out
    assert run(house, "token", "revoke", viewer["id"]).code == 2
    assert run(house, "token", "create", "vera", "--role", "queen").code == 2


def test_every_replayed_state_is_what_was_served_there(house: Installation, done: str) -> None:
    replayed = shown(house, "replay", done)["items"]
    assert [step["event"]["topic"] for step in replayed][-1] == "deployment.succeeded"
    served = asyncio.run(statuses(house, done, [step["event"]["position"] for step in replayed]))
    assert [step["state"] for step in replayed] == served
    served = shown(house, "events", "--stream", f"deployment:{done}")["items"]
    assert [step["event"] for step in replayed] == served


def test_a_replay_reads_as_lines(house: Installation, done: str) -> None:
    steps = [line.split("\t") for line in run(house, "replay", done).out.splitlines()]
    assert [step[2] for step in steps][:2] == ["deployment.requested", "deployment.started"]
    assert [step[4] for step in steps][-2:] == ["running", "succeeded"]
    (applied,) = run(house, "replay", "environment:staging").out.splitlines()
    assert "name=staging" in applied
    assert "deployment.succeeded" in run(house, "replay", "--all").out
    assert run(house, "replay", "--check").err == "0 findings in the log, 0 differing rows\n"
    assert run(house, "verify").err.endswith(" events, 0 findings\n")
    assert len(run(house, "rebuild").out.split("\t")) == 3
    assert run(house, "db", "status").out.startswith(f"data\t{house.data}\n")


def test_a_replay_stops_where_it_is_told(house: Installation, done: str) -> None:
    whole = shown(house, "replay", done)["items"]
    for when in (str(whole[2]["event"]["position"]), whole[2]["event"]["recorded_at"]):
        part = shown(house, "replay", done, "--as-of", when)["items"]
        assert part[:3] == whole[:3]
        assert {step["event"]["recorded_at"] for step in part[2:]} == {
            whole[2]["event"]["recorded_at"]
        }
    assert shown(house, "replay", "target:staging/lab")["items"][0]["state"]["version"] == 1
    assert run(house, "replay", done, "--as-of", "99999").code == 2
    assert run(house, "replay", done, "--as-of", "yesterday").code == 2
    assert run(house, "replay", done, "--all").code == 2
    assert run(house, "replay").code == 2
    assert run(house, "replay", "no-such-id").code == 2


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
        for audit in (("verify",), ("replay", "--check")):
            found = run(house, *audit)
            assert found.code == 1
            assert f"deployment:{done}" in found.out
    finally:
        house.environment["SHIPSLOG_DATA"] = str(house.data)


def test_a_rebuild_goes_through_the_server(house: Installation) -> None:
    assert shown(house, "rebuild")["events"] > 0
    assert shown(house, "rebuild", "--stream", "target:staging/lab")["events"] > 0
    assert run(house, "rebuild", "--stream", "target:staging/nothing").code == 2


def test_without_its_server_the_store_is_used_under_its_lock(
    house: Installation, done: str
) -> None:
    house.environment["XDG_CONFIG_HOME"] = str(house.configuration) + "-none"
    locked = run(house, "rebuild")
    assert locked.code == 5
    assert "has the store" in locked.err
    house.environment["XDG_CONFIG_HOME"] = str(house.configuration)
    house.stop()
    try:
        assert run(house, "where").code == 1
        assert shown(house, "rebuild")["events"] > 0
        admin = shown(house, "token", "create", "ada", "--role", "admin")
        assert shown(house, "replay", done)["items"]
    finally:
        house.start()
    house.environment["SHIPSLOG_TOKEN"] = admin["token"]
    try:
        assert run(house, "token", "revoke", admin["id"]).code == 0
        assert run(house, "where").code == 6
    finally:
        del house.environment["SHIPSLOG_TOKEN"]
    assert run(house, "where").code == 0, "the first token is kept over a restart"


def test_an_export_is_the_same_from_a_server_and_from_the_store(
    house: Installation, done: str, tmp_path: Path
) -> None:
    files = {"here": tmp_path / "here.ndjson", "there": tmp_path / "there.ndjson"}
    until = str(shown(house, "status", done)["position"])
    for place, file in files.items():
        with patch.dict(house.environment, url_of(house) if place == "there" else {}):
            ran = run(house, "export", "--until", until, "-o", str(file))
        assert ran.code == 0, ran.err
        assert run(house, "export", "--check", str(file), f"{file}.manifest.json").code == 0
    assert files["here"].read_bytes() == files["there"].read_bytes()
    assert len(files["here"].read_bytes().splitlines()) == int(until)


def url_of(house: Installation) -> dict[str, str]:
    stored = tomllib.loads((house.configuration / "shipslog/config.toml").read_text())
    return {"SHIPSLOG_URL": stored["url"]}
