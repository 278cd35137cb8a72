"""Verbs that show: one deployment, many, what runs where, what was printed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal import output, rows, views
from ..wire.shapes import Document
from .asking import ExitCode, ask, code_of
from .options import (
    AsJson,
    AsOf,
    DeploymentId,
    Environment,
    EnvironmentName,
    Service,
    Timeout,
    Watch,
)

if TYPE_CHECKING:
    from ..client import Client


def get(
    deployment: DeploymentId,
    *,
    watch: Watch = False,
    timeout: Timeout = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Show a deployment and its stages; with --watch until it has ended."""
    if (watch and as_of) or (timeout is not None and not watch):
        message = "--watch goes on from now, for as long as --timeout says: without --as-of."
        raise typer.BadParameter(message)
    if watch:
        return ask(lambda client: _watched(client, deployment, timeout, as_json=as_json))
    shown = ask(lambda client: client.deployment(deployment, as_of=as_of))
    if as_json:
        output.put_json(shown)
    elif output.is_terminal():
        from ..terminal.tree import tree

        output.console().print(tree(shown, datetime.now(UTC)))
    else:
        output.put_table((), rows.status_rows(shown))
    return ExitCode.DONE


def status(deployment: DeploymentId, *, as_json: AsJson = False) -> ExitCode:
    """Say how a deployment stands; the exit code says it too (3: it goes on)."""
    shown = ask(lambda client: client.deployment(deployment))
    if as_json:
        output.put_json(shown)
    else:
        output.put_table(rows.STATUS_COLUMNS, [rows.status_row(shown)])
    return code_of(shown)


def list_deployments(
    *,
    environment: Environment = None,
    service: Service = None,
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline.")] = None,
    state: Annotated[str | None, typer.Option("--status", help="Only in this state.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only asked for by this subject.")] = None,
    since: Annotated[str | None, typer.Option(help="Requested at this instant or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Requested at this instant or before.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many at most.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where a list before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List deployments, newest first."""
    page = ask(
        lambda client: client.page(
            "/v1/deployments",
            environment=environment,
            service=service,
            pipeline=pipeline,
            status=state,
            actor=actor,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        )
    )
    if as_json:
        output.put_json(page)
        return
    output.put_table(rows.DEPLOYMENT_COLUMNS, map(rows.deployment_row, page["items"]))
    if page["next"]:
        output.say(f"There are more: --cursor {page['next']}")


def where(
    *,
    environment: Environment = None,
    service: Service = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Show what runs where, now or as of an instant or position."""

    def is_wanted(target: Document) -> bool:
        return environment in {None, target["environment"]} and service in {None, target["service"]}

    async def wanted(client: Client) -> list[Document]:
        return [t async for t in client.items("/v1/targets", as_of=as_of) if is_wanted(t)]

    targets = ask(wanted)
    if as_json:
        output.put_json({"items": targets, "next": None})
    else:
        output.put_table(rows.TARGET_COLUMNS, map(rows.target_row, targets))


def history(
    environment: EnvironmentName,
    service: Annotated[str, typer.Argument(help="A service's name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the newest deployments of a service to an environment."""
    from ..client import segment

    path = f"/v1/history/{segment(environment)}/{segment(service)}"

    async def entries(client: Client) -> list[Document]:
        return [entry async for entry in client.items(path)]

    shown = ask(entries)
    if as_json:
        output.put_json({"items": shown, "next": None})
    else:
        output.put_table(rows.HISTORY_COLUMNS, map(rows.history_row, shown))


def printed(
    deployment: DeploymentId,
    stage: Annotated[str, typer.Argument(help="A stage's name, such as build or deploy.health.")],
) -> None:
    """Print what a stage printed."""
    output.put_printed(ask(lambda client: client.output(deployment, stage)))


async def _watched(
    client: Client, deployment: str, timeout: float | None, *, as_json: bool
) -> ExitCode:
    from .following import settle

    first = await client.deployment(deployment)
    _, code = await settle(client, first, views.chosen(as_json=as_json), timeout=timeout)
    return code
