"""Arguments and options that several verbs take, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

from ..settings import seconds


def duration(text: str) -> float:
    """Read a duration in seconds; a usage error for anything that is none."""
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline's name.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="The version to deploy.")]
EnvironmentName = Annotated[
    str, typer.Argument(metavar="ENVIRONMENT", help="An environment's name.")
]
DeploymentId = Annotated[str, typer.Argument(metavar="ID", help="A deployment's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's document.")]
Reason = Annotated[str | None, typer.Option(help="Why; it stays in the ledger.")]
Key = Annotated[
    str | None,
    typer.Option(help="Makes a repeated call answer with the first one's deployment."),
]
Artifact = Annotated[
    str | None, typer.Option(metavar="NAME@sha256:DIGEST", help="What exactly is deployed.")
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Return when it has ended, or with 3 when a person has to act."),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show every step until it has ended.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        parser=duration, metavar="DURATION", help="End with 124 after so long, such as 90s or 10m."
    ),
]
AsOf = Annotated[
    str | None, typer.Option(metavar="WHEN", help="An instant (RFC 3339) or a position of the log.")
]
Environment = Annotated[str | None, typer.Option(help="Only this environment.")]
Service = Annotated[str | None, typer.Option(help="Only this service.")]
