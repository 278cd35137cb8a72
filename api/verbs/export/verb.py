"""export: a part of the log into a file or to stdout, from a server or from the store itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from ...terminal import output
from ...wire.shapes import Document
from ..asking import ExitCode
from ..here import at_server_or_here, settings_here
from ..options import AsJson, Environment, Service
from .options import (
    Actor,
    Check,
    FormatName,
    From,
    Made,
    Manifest,
    Output,
    Resume,
    Topic,
    Until,
)

if TYPE_CHECKING:
    from ...client import Client
    from .writing import Wish


def export(
    *,
    made: Made = FormatName.NDJSON,
    begin: From = None,
    until: Until = None,
    environment: Environment = None,
    service: Service = None,
    actor: Actor = None,
    topic: Topic = None,
    file: Output = None,
    manifest: Manifest = None,
    resume: Resume = False,
    check: Check = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Write a part of the log for others to keep, as it is stored, with a manifest to check it."""
    if check is not None:
        from .checking import check_file

        return check_file(*check, as_json=as_json)
    if file is None and (resume or as_json):
        message = "--resume and --json go with -o FILE."
        raise typer.BadParameter(message)
    from .writing import Wish

    asked = {
        "format": made.value,
        "from": begin,
        "until": until,
        "environment": environment,
        "service": service,
        "actor": actor,
        "topic": topic,
    }
    order = {name: text for name, text in asked.items() if text is not None}
    described = _carry_out(Wish(order, file, manifest, resume=resume))
    if as_json:
        output.put_json(described)
    elif file is not None and described is not None:
        output.put_table(("FIRST", "LAST", "MATCHED", "BYTES", "SHA256"), [_row(described)])
    return ExitCode.DONE


def _carry_out(wish: Wish) -> Document | None:
    is_named = "SHIPSLOG_DATA" in os.environ or "SHIPSLOG_DATABASE_URL" in os.environ
    if is_named and "SHIPSLOG_URL" not in os.environ:
        # Who names a store means that one, and not the log of a server that runs as well.
        return _from_here(wish)
    return at_server_or_here(lambda client: _from_server(client, wish), lambda: _from_here(wish))


async def _from_server(client: Client, wish: Wish) -> Document | None:
    from .sources import AtServer
    from .writing import write

    return await write(AtServer(client, wish.order), wish)


def _from_here(wish: Wish) -> Document | None:
    import asyncio

    from ...assembly import archive
    from .sources import Here
    from .writing import write

    settings = settings_here()
    name = "postgresql" if settings.postgres else str(settings.data)

    async def written() -> Document | None:
        async with archive(settings) as opened:
            return await write(Here(opened, name, wish.order), wish)

    return asyncio.run(written())


def _row(described: Document) -> tuple[object, ...]:
    positions, content = described["positions"], described["content"]
    matched = described["counts"]["matched"]
    return positions["first"], positions["last"], matched, content["bytes"], content["sha256"]
