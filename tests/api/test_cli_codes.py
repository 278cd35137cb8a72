"""Exit codes: each way a deployment, a refusal or a call can end has its own, always the same."""

import signal
from pathlib import Path

import pytest
from aiohttp import web

from .run_cli import Cli, ended
from .stand_in import ID, StandIn, deployment


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("succeeded", 0),
        ("failed", 1),
        ("aborted", 1),
        ("cancelled", 1),
        ("superseded", 1),
        ("rejected", 1),
        ("rollback_failed", 1),
        ("rolled_back", 4),
        ("running", 3),
        ("awaiting_approval", 3),
        ("needs_operator", 3),
    ],
)
async def test_status_says_how_it_stands(
    stand_in: StandIn, cli: Cli, status: str, code: int
) -> None:
    stand_in.document = deployment(status)
    ran = await cli.run("status", ID)
    assert (ran.code, ran.err) == (code, "")
    assert ran.out.startswith(f"{status}\t2\t3")


@pytest.mark.parametrize(
    ("http", "code"),
    [
        (400, 2),
        (401, 6),
        (403, 6),
        (404, 2),
        (409, 5),
        (412, 5),
        (422, 2),
        (429, 1),
        (500, 1),
        (503, 1),
    ],
)
async def test_a_refusal_is_one_line(stand_in: StandIn, cli: Cli, http: int, code: int) -> None:
    stand_in.refuse("GET", f"/v1/deployments/{ID}", http)
    ran = await cli.run("get", ID)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("shipslog: It cannot be.")
    assert ran.err.count("\n") == 1


async def test_a_refusal_says_where_and_what_is_possible(stand_in: StandIn, cli: Cli) -> None:
    stand_in.refuse(
        "POST",
        f"/v1/deployments/{ID}/promote",
        409,
        errors=[{"pointer": "/reason", "detail": "It is too long."}],
        legal_actions=["abort", "rollback"],
    )
    ran = await cli.run("promote", ID)
    assert ran.code == 5
    assert ran.err == "shipslog: It cannot be. (at /reason) Possible now: abort, rollback.\n"


async def test_without_a_token_it_says_how_to_give_one(stand_in: StandIn, cli: Cli) -> None:
    stand_in.refuse("GET", "/v1/targets", 401)
    ran = await cli.run("where")
    assert ran.code == 6
    assert "SHIPSLOG_TOKEN" in ran.err


@pytest.mark.parametrize(("http", "kind"), [(302, "application/json"), (502, "text/html")])
async def test_an_answer_of_something_else_is_not_shown(
    stand_in: StandIn, cli: Cli, http: int, kind: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<h1>proxy</h1>", status=http, content_type=kind)

    stand_in.planted["GET", "/v1/targets"] = answer
    ran = await cli.run("where")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "proxy" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "web"),
        ("list", "--nope"),
        ("nope",),
        (),
        ("deploy", "web", "1", "staging", "--watch", "--wait"),
        ("deploy", "web", "1", "staging", "--timeout", "5s"),
        ("get", ID, "--watch", "--timeout", "soon"),
        ("events", "--after", "-1"),
        ("serve",),
        ("worker",),
        ("up", "--listen", "nowhere"),
    ],
)
async def test_a_wrong_call_ends_with_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = await cli.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err
    assert "Traceback" not in ran.err


async def test_serve_and_worker_say_that_they_need_postgresql(cli: Cli) -> None:
    for verb in ("serve", "worker"):
        ran = await cli.run(verb)
        assert "need PostgreSQL" in ran.err


async def test_no_server_is_said_in_one_line(cli: Cli) -> None:
    ran = await cli.run("where", SHIPSLOG_URL="http://127.0.0.1:1")
    assert ran.code == 1
    assert ran.err.startswith("shipslog: No server answers at http://127.0.0.1:1")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x", "http://", "http://[::1"])
async def test_a_bad_address_is_refused(cli: Cli, url: str) -> None:
    ran = await cli.run("where", SHIPSLOG_URL=url)
    assert (ran.code, ran.err.count("\n")) == (2, 1)


async def test_a_broken_configuration_is_named(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / ".config/shipslog/config.toml"
    place.parent.mkdir(parents=True)
    place.write_text("url =")
    ran = await cli.run("where", SHIPSLOG_URL="")
    assert (ran.code, ran.out) == (2, "")
    assert str(place) in ran.err


@pytest.mark.parametrize("data", ["data", "file", "file/below"])
async def test_what_the_machine_refuses_is_said_in_one_line(
    stand_in: StandIn, cli: Cli, tmp_path: Path, data: str
) -> None:
    (tmp_path / "file").touch()
    taken = f"127.0.0.1:{stand_in.port}"
    ran = await ended(await cli.start("up", "--listen", taken, "--data", str(tmp_path / data)))
    assert (ran.code, ran.out) == (1, "")
    (said,) = [line for line in ran.err.splitlines() if not line.startswith("{")]
    assert said.startswith("shipslog: ")
    assert "fault of ours" not in said


async def test_an_interrupt_ends_with_130_and_without_a_word(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("events", "--follow")
    await stand_in.until(lambda: len(stand_in.streams()) == 1)
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert (ran.code, ran.err) == (130, "")


async def test_a_reader_that_has_gone_is_no_error(stand_in: StandIn, cli: Cli) -> None:
    process = await cli.start("events", "--follow", "--after", "0")
    assert process.stdout
    assert await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    await stand_in.move("deployment.paused")
    await stand_in.move("deployment.resumed")
    ran = await ended(process)
    assert (ran.code, ran.err) == (141, "")
