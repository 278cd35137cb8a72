"""Verbs that read the log through the server: its events, page by page or as they come."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..terminal import output, rows
from ..wire.shapes import EventDocument
from .asking import ask
from .options import AsJson

if TYPE_CHECKING:
    from ..client import Client, Params

PATH = "/v1/events"


def events(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    after: Annotated[int | None, typer.Option(help="Only behind this position.", min=0)] = None,
    topic: Annotated[str | None, typer.Option(help="Such as deployment.failed.")] = None,
    stream: Annotated[str | None, typer.Option(help="Such as target:staging/web.")] = None,
    limit: Annotated[int | None, typer.Option(help="One page of so many.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Print the log in its order; with --follow from now on, or from --after on."""
    params: Params = {"after": after, "topic": topic, "stream": stream, "limit": limit}
    if follow:
        ask(lambda client: _follow(client, params, as_json=as_json))
    elif limit is not None:
        _page(params, as_json=as_json)
    else:
        ask(lambda client: _all(client, params, as_json=as_json))


def _page(params: Params, *, as_json: bool) -> None:
    page = ask(lambda client: client.page(PATH, **params))
    if as_json:
        output.put_json(page)
    else:
        output.put_table(rows.EVENT_COLUMNS, map(_row, page["items"]))


async def _all(client: Client, params: Params, *, as_json: bool) -> None:
    if as_json:
        items = [event async for event in client.items(PATH, **params)]
        output.put_json({"items": items, "next": None})
        return
    async for event in client.items(PATH, **params):
        output.put_row(_row(event))


async def _follow(client: Client, params: Params, *, as_json: bool) -> None:
    from .following import follow

    async with aclosing(follow(client, params)) as coming:
        async for event in coming:
            if event is None:
                continue
            if as_json:
                output.put_json(event, one_line=True)
            else:
                output.put_row(rows.event_row(event))


def _row(event: dict[str, object]) -> rows.Row:
    return rows.event_row(cast("EventDocument", event))
