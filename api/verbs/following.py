"""Following a deployment until it ends, over lost connections and restarts of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import stamina

from ..client import Client, Params
from ..terminal.views import View
from ..wire.shapes import CutOffError, EventDocument, Status, is_transient
from .asking import ExitCode, code_of, is_final

Step = tuple[Status, EventDocument | None]


async def settle(
    client: Client,
    first: Status,
    view: View,
    *,
    until: Callable[[Status], bool] = lambda _: False,
    timeout: float | None = None,
) -> tuple[Status, ExitCode]:
    """Show a deployment until it has ended, or `until` holds before; `timeout` is in seconds.

    Returns its last status document and the exit code that it stands for.
    """
    status = first
    begun = first.get("requested_position", 1) - 1
    after = begun if view.shows_history else first["position"]
    try:
        with view:
            async with asyncio.timeout(timeout), aclosing(_steps(client, first, after)) as steps:
                async for status, event in steps:
                    view.show(status, event)
                    if not is_final(status) and until(status):
                        break
    except TimeoutError:
        return status, ExitCode.TIMEOUT
    return status, code_of(status)


async def follow(
    client: Client, params: Params, last: int | None = None
) -> AsyncGenerator[EventDocument | None]:
    """Yield events for ever, None whenever connected; a lost connection resumes after the last."""
    while True:
        async for attempt in _patiently():
            with attempt:
                async for event in client.stream(params, last):
                    last = event["position"] if event else last
                    yield event
                raise CutOffError(client.url, "the server ended the stream")


async def _steps(client: Client, status: Status, after: int) -> AsyncGenerator[Step]:
    seen = after
    yield status, None
    if is_final(status) and seen >= status["position"]:
        return
    params: Params = {"stream": f"deployment:{status['id']}", "after": after}
    async with aclosing(follow(client, params)) as events:
        async for event in events:
            seen = event["position"] if event else seen
            if event is None or seen > status["position"]:
                status = await _reread(client, status, seen)
            yield status, event
            if is_final(status) and seen >= status["position"]:
                return


async def _reread(client: Client, status: Status, position: int) -> Status:
    async for attempt in _patiently():
        with attempt:
            return await client.deployment(status["id"], at=position)
    raise AssertionError  # stamina returns or raises


def _patiently() -> AsyncIterator[stamina.Attempt]:
    again = stamina.retry_context(
        on=is_transient, attempts=None, timeout=None, wait_max=1.0, wait_jitter=0.2
    )
    return aiter(again)
