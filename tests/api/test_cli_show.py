"""What is shown: tables for people, tab-separated lines for programs, and nothing raw."""

import json
import re

import pytest
from aiohttp import web

from .run_cli import Cli
from .stand_in import ID, StandIn, deployment

EVIL = "\x1b]0;owned\x07\x1b[2J\r\n\tfake\tline\u202e\x9b31m"


async def test_a_list_is_a_table_at_a_terminal(stand_in: StandIn, cli: Cli) -> None:
    stand_in.plant("GET", "/v1/deployments", {"items": [deployment()], "next": "c1"})
    shown = await (await cli.start_at_terminal("list"))
    head, row = plain(shown.out).splitlines()[:2]
    assert head.split() == ["ID", "SERVICE", "VERSION", "ENVIRONMENT", "STATUS", "BY", "REQUESTED"]
    assert row.split()[:5] == [ID, "web", "1.4.0", "staging", "running"]
    assert shown.err == "There are more: --cursor c1\n"


async def test_a_list_is_tab_separated_behind_a_pipe(stand_in: StandIn, cli: Cli) -> None:
    stand_in.plant("GET", "/v1/deployments", {"items": [deployment()], "next": None})
    ran = await cli.run("list", "--environment", "staging", "--status", "running", "--limit", "5")
    assert ran.out.split("\t")[:5] == [ID, "web", "1.4.0", "staging", "running"]
    asked = stand_in.requests[0].query
    assert dict(asked) == {"environment": "staging", "status": "running", "limit": "5"}


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        (("list",), "/v1/deployments"),
        (("where",), "/v1/targets"),
        (("history", "staging", "web"), "/v1/history/staging/web"),
        (("events",), "/v1/events"),
        (("token", "list"), "/v1/tokens"),
    ],
)
async def test_json_of_a_list_is_the_apis(
    stand_in: StandIn, cli: Cli, verb: tuple[str, ...], path: str
) -> None:
    page = {"items": [{"anything": "ä", "environment": "staging", "service": "web"}], "next": None}
    stand_in.plant("GET", path, page)
    ran = await cli.run(*verb, "--json")
    assert (ran.code, json.loads(ran.out), ran.err) == (0, page, "")
    assert "ä" in ran.out


async def test_a_list_is_read_to_its_end(stand_in: StandIn, cli: Cli) -> None:
    async def page(request: web.Request) -> web.Response:
        last = request.query.get("cursor") == "c1"
        entry = {"environment": "e", "service": "2" if last else "1", "version": None}
        rest = {"since": None, "deployment": None, "holder": None}
        return web.json_response({"items": [entry | rest], "next": None if last else "c1"})

    stand_in.planted["GET", "/v1/targets"] = page
    assert (await cli.run("where")).out == "e\t1\t\t\t\t\ne\t2\t\t\t\t\n"


@pytest.mark.parametrize("verb", [("get", ID), ("status", ID), ("get", ID, "--json")])
async def test_nothing_of_a_server_reaches_a_terminal_raw(
    stand_in: StandIn, cli: Cli, verb: tuple[str, ...]
) -> None:
    wait = {"kind": EVIL, "detail": EVIL, "since": None, "until": None}
    stages = [dict.fromkeys(["name", "status", "message"], EVIL) | {"attempt": 1}]
    times = dict.fromkeys(["started_at", "ended_at"])
    stand_in.document = deployment(
        reason=EVIL,
        version=EVIL,
        requested_by=EVIL,
        live={"revision": EVIL, "version": EVIL},
        waiting_on=[wait],
        stages=[stages[0] | times],
    )
    for shown in (await (await cli.start_at_terminal(*verb)), await cli.run(*verb)):
        text = plain(shown.out)
        assert "owned" in text
        assert not set("\x1b\x07\r\x9b\u202e") & set(text)


async def test_a_problem_of_a_server_reaches_no_terminal_raw(stand_in: StandIn, cli: Cli) -> None:
    stand_in.refuse("GET", f"/v1/deployments/{ID}", 409, detail=EVIL, legal_actions=[EVIL])
    ran = await cli.run("get", ID)
    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert not set("\x1b\x07\r\x9b\u202e\t") & set(ran.err)


async def test_markup_of_a_server_is_text(stand_in: StandIn, cli: Cli) -> None:
    stand_in.document = deployment(reason="[red]x[/red] :smile:")
    shown = await (await cli.start_at_terminal("get", ID))
    assert "[red]x[/red] :smile:" in shown.out


async def test_no_color_is_obeyed(cli: Cli) -> None:
    shown = await (await cli.start_at_terminal("get", ID, NO_COLOR="1"))
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown.out)
    assert "● running" in plain(shown.out), "icon and word say it too"


async def test_what_was_printed_is_cleaned_for_a_terminal_alone(
    stand_in: StandIn, cli: Cli
) -> None:
    printed = b"\x1b[31mred\x1b[0m\tpart\r\n\x1b]0;owned\x07\xff\n"

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=printed, content_type="text/plain")

    stand_in.planted["GET", f"/v1/deployments/{ID}/stages/deploy.start/output"] = answer
    verb = ("output", ID, "deploy.start")
    assert (await cli.run_bytes(*verb)) == printed
    shown = await (await cli.start_at_terminal(*verb))
    assert shown.out == "red     part\n\\x1b]0;owned\\x07\ufffd\n"


async def test_a_deployment_behind_a_pipe_is_its_fields_then_its_stages(
    stand_in: StandIn, cli: Cli
) -> None:
    ran = await cli.run("get", ID, "--as-of", "3")
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert ["status", "running"] in lines
    assert ["stage", "deploy.switch", "pending", "0", "", "", ""] in lines
    assert stand_in.requests[0].query["as_of"] == "3"


async def test_deploying_prints_the_id_alone(stand_in: StandIn, cli: Cli) -> None:
    ran = await cli.run("deploy", "web", "1.4.0", "staging", "--reason", "why", "--no-input")
    assert ran == (0, f"{ID}\n", "")
    wanted = {"pipeline": "web", "version": "1.4.0", "environment": "staging", "reason": "why"}
    assert stand_in.bodies == [wanted]
    shown = await (await cli.start_at_terminal("deploy", "web", "1.4.0", "staging"))
    assert (shown.out, f"get {ID} --watch" in shown.err) == (f"{ID}\n", True)


async def test_approving_names_the_plan_that_is_approved(stand_in: StandIn, cli: Cli) -> None:
    assert (await cli.run("approve", ID, "--reason", "seen")).code == 0
    assert stand_in.bodies[-1] == {"reason": "seen", "plan_hash": "sha256:" + "0" * 64}


async def test_every_verb_has_help_with_an_example(cli: Cli) -> None:
    listed = (await cli.run("--help")).out.partition("Commands:")[2]
    verbs = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert len(verbs) > 25
    for verb in set(verbs) - {"export", "token", "db"}:
        assert f"shipslog {verb}" in (await cli.run(verb, "--help")).out.partition("Examples")[2]


async def test_the_version_is_said(cli: Cli) -> None:
    assert re.fullmatch(r"shipslog \d+\.\d+\.\d+\n", (await cli.run("--version")).out)


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
