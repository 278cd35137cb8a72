"""Watching and waiting: every transition once, over lost connections, to an exit code."""

import json
import re

from .run_cli import Cli, ended
from .stand_in import AT, ID, StandIn, deployment, stage

WAIT = {"kind": "approval", "detail": "1 of 2", "since": AT, "until": AT}


def topics(lines: str) -> list[str]:
    return [line.split("\t")[2].removeprefix("deployment.") for line in lines.splitlines()]


async def test_behind_a_pipe_each_transition_is_a_line(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("get", ID, "--watch")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.move("deployment.stage_finished")
    await stand_in.move("deployment.succeeded", status="succeeded")
    ran = await ended(process)
    expected = ["requested", "started", "stage_started", "stage_finished", "succeeded"]
    assert (ran.code, ran.err, topics(ran.out)) == (0, "", expected)
    assert "stage=deploy.start attempt=1" in ran.out


async def test_one_that_has_ended_is_told_in_full(stand_in: StandIn, cli: Cli) -> None:
    stand_in.document = deployment("rolled_back")
    ran = await cli.run("get", ID, "--watch")
    assert (ran.code, len(topics(ran.out))) == (4, 3)


async def test_a_restart_of_the_server_loses_and_repeats_nothing(
    stand_in: StandIn, cli: Cli
) -> None:
    process = await cli.start("get", ID, "--watch")
    assert process.stdout
    for _ in range(3):
        await process.stdout.readline()
    await stand_in.__aexit__()
    await stand_in.move("deployment.stage_finished")
    await stand_in.__aenter__()
    await stand_in.move("deployment.failed", status="failed")
    ran = await ended(process)
    assert (ran.code, topics(ran.out)) == (1, ["stage_finished", "failed"])
    assert stand_in.streams()[-1].headers["Last-Event-ID"] == "3"


async def test_waiting_goes_over_a_restart_too_and_says_that_it_tries(
    stand_in: StandIn, cli: Cli
) -> None:
    process = await cli.start("deploy", "web", "1.4.0", "staging", "--wait")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.__aexit__()
    assert process.stderr
    told = (await process.stderr.readline()).decode()
    assert "No server answers" in told
    assert "trying again" in told
    await stand_in.__aenter__()
    await stand_in.move("deployment.succeeded", status="succeeded")
    ran = await ended(process)
    assert (ran.code, ran.out) == (0, f"{ID}\n")
    assert ran.err == "web 1.4.0 → staging: succeeded\n"


async def test_a_deadline_ends_with_124_and_the_last_document(stand_in: StandIn, cli: Cli) -> None:
    ordered = ("deploy", "web", "1.4.0", "staging", "--json", "--wait", "--timeout", "300ms")
    ran = await cli.run(*ordered)
    assert (ran.code, ran.err) == (124, "")
    assert json.loads(ran.out) == stand_in.document


async def test_a_deadline_holds_while_the_server_is_away(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("get", ID, "--watch", "--timeout", "2s")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.__aexit__()
    ran = await ended(process)
    await stand_in.__aenter__()
    assert ran.code == 124


async def test_who_waits_is_told_when_a_person_has_to_act(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("deploy", "web", "1.4.0", "staging", "--wait")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.move("deployment.queued", status="awaiting_approval", waiting_on=[WAIT])
    ran = await ended(process)
    assert ran.code == 3
    assert "awaiting_approval; approval: 1 of 2, until 2026-11-03 14:03:00Z" in ran.err


async def test_who_watches_goes_on_while_a_person_decides(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("get", ID, "--watch")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.move("deployment.paused", status="paused", waiting_on=[WAIT])
    await stand_in.move("deployment.aborted", status="aborted", waiting_on=[])
    ran = await ended(process)
    assert (ran.code, topics(ran.out)[-2:]) == (1, ["paused", "aborted"])


async def test_documents_of_a_watch_are_one_a_line(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("get", ID, "--watch", "--json")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    await stand_in.move("deployment.succeeded", status="succeeded")
    ran = await ended(process)
    shown = [json.loads(line)["status"] for line in ran.out.splitlines()]
    assert (ran.code, shown) == (0, ["running", "succeeded"])


async def test_a_terminal_shows_a_tree_that_ends_with_the_outcome(
    stand_in: StandIn, cli: Cli
) -> None:
    stages = [stage("build", "succeeded"), stage("deploy.start", "failed", message="no port")]
    shown = await cli.start_at_terminal("get", ID, "--watch")
    await stand_in.until(lambda: stand_in.reads() == 2)
    await stand_in.move("deployment.paused", status="paused", waiting_on=[WAIT])
    await stand_in.until(lambda: stand_in.reads() == 3)
    ended = {"stages": stages, "waiting_on": [], "current_stage": 3}
    await stand_in.move("deployment.failed", status="failed", **ended)
    ran = await shown
    last = plain(ran.out).rpartition("web 1.4.0 → staging")[2]
    assert ran.code == 1
    assert "waiting for approval: 1 of 2" in plain(ran.out)
    for said in ("✖ failed", "stage 3 of 3", "✔ build", "✖ start", "no port", "live now: 1.3.9"):
        assert said in last
    assert "\x1b[?25h" in ran.out, "the cursor is shown again"


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
