"""Options of the verb export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_WHEN = "a position of the log, or an instant (RFC 3339)."


class FormatName(StrEnum):
    """How events are written."""

    NDJSON = "ndjson"
    CSV = "csv"


Made = Annotated[FormatName, typer.Option("--format", help="How events are written.")]
From = Annotated[str | None, typer.Option("--from", metavar="WHEN", help=f"From {_WHEN}")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help=f"Up to {_WHEN}")]
Actor = Annotated[
    str | None, typer.Option(metavar="KIND:NAME", help="Only by this person or subject id.")
]
Topic = Annotated[
    str | None, typer.Option(help="Such as deployment.failed, or deployment. for all of them.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="It is there once it is whole."),
]
Manifest = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Not FILE.manifest.json beside the export, but here."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what the same export left unfinished.")
]
Check = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="FILE MANIFEST", help="Only say whether the two belong together."),
]
