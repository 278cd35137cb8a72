"""Verbs that are a process: everything in one, its parts, and the agent beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..settings import DEFAULT_LISTEN, from_environment
from ..terminal import output
from .asking import ExitCode

Listen = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help=f"Where to listen: {DEFAULT_LISTEN}.")
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The data folder; SHIPSLOG_DATA without it.")
]
APART = (
    "shipslog: "
    "serve and worker as separate processes need PostgreSQL (SHIPSLOG_DATABASE_URL=postgresql://…);"
    " on the embedded store `shipslog up` is both."
)


def up(
    *,
    listen: Listen = None,
    data: Data = None,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="On a PostgreSQL of its own in the data folder.")
    ] = False,
) -> None:
    """Run everything in one process: server, worker and the embedded store."""
    settings = from_environment(listen=listen, data=data)
    from ..assembly import run_up, run_up_on_own_server

    if postgres and settings.postgres:
        message = "--postgres brings a server of its own, and SHIPSLOG_DATABASE_URL names one."
        raise typer.BadParameter(message)
    start = run_up_on_own_server if postgres else run_up
    start(settings, lambda url, token: announce(url, token, settings.data))


def serve(*, listen: Listen = None) -> ExitCode:
    """Run the server alone; a worker does the deploying."""
    settings = from_environment(listen=listen)
    if not settings.postgres:
        return _refused()
    from ..assembly import run_serve

    run_serve(settings, lambda url, token: announce(url, token, settings.data))
    return ExitCode.DONE


def worker() -> ExitCode:
    """Run a worker alone; any number may run."""
    settings = from_environment()
    if not settings.postgres:
        return _refused()
    from ..assembly import run_worker

    run_worker(settings, lambda name: output.put_row(("worker", name)))
    return ExitCode.DONE


def agent(
    *,
    data: Data = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the agent and its children.")] = False,
) -> int:
    """Keep the processes and the router of a data folder; the others start it."""
    settings = from_environment(data=data)
    from ..assembly import run_agent, stop_agent

    if not stop:
        return run_agent(settings)
    stop_agent(settings)
    return ExitCode.DONE


def _refused() -> ExitCode:
    output.say(APART)
    return ExitCode.REFUSED


def announce(url: str, token: str | None, data: Path) -> None:
    """Say where the server is and, once, its first token; keep both for the other verbs."""
    from ..user_config import Server, remember

    place = remember(Server(url, token, str(data)))
    output.put_row(("address", url))
    if token:
        output.put_row(("admin token", token))
        output.say("The token is shown this once.")
    output.say(f"The other verbs use it now: {place}")
