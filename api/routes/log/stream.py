"""The event stream: every event once, in order, resumable; a client that stalls is closed.

Memory for one client is bounded: a small batch of events, and what its socket takes before the
write waits. While it waits nothing more is read for it.
"""

from __future__ import annotations

import asyncio
import socket

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from ....domain.errors import OverloadedError
from ...services import Limits
from ...signals import logs
from ...wire import parameters
from ...wire.endpoint import Call
from ...wire.parameters import MAX_POSITION, read_whole
from ...wire.refusals import MalformedHeaderError
from .reading import Wanted, next_after, shown_events

LAST_EVENT_ID = "Last-Event-ID"
BATCH, SMALL_BATCH = 32, 4
BATCH_BYTES = 1024 * 1024
"""After a batch with more payload than this, and at first, a small one is read."""
SEND_BYTES = 64 * 1024
LOOK_SECONDS = 5.0
"""How often a quiet stream looks whether its client is still there and may still read."""

_log = logs.get("http")
_encode = msgspec.json.Encoder().encode


class Streams:
    """All open streams of one server."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tasks: set[asyncio.Task[object]] = set()

    async def serve(self, call: Call, wanted: Wanted) -> web.StreamResponse:
        """Send events to one client until it goes, stalls or the server ends.

        Errors: MalformedHeaderError for a Last-Event-ID that is no position of this log,
        OverloadedError for one stream too many.
        """
        after = await _start(call)
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= self._limits.streams:
            raise OverloadedError
        response = EventSourceResponse(
            headers={"X-Content-Type-Options": "nosniff"},
            send_timeout=self._limits.stalled_seconds,
            ping_interval=self._limits.heartbeat_seconds,
        )
        self._tasks.add(task)
        call.services.metrics.streams.inc()
        try:
            _narrow(call.request)
            await response.prepare(call.request)
            async with response:
                await _send_all(call, response, wanted, after)
        except (ConnectionError, TimeoutError):
            call.request.protocol.force_close()
        except Exception:
            if not response.prepared:
                raise
            # What has begun as a stream cannot become a problem document.
            _log.exception("stream broken")
            call.request.protocol.force_close()
        finally:
            self._tasks.discard(task)
            call.services.metrics.streams.dec()
        return response

    async def end(self, _app: web.Application) -> None:
        """End every stream; clients come back with their Last-Event-ID."""
        for task in self._tasks:
            task.cancel()


async def _start(call: Call) -> int:
    """Return the position after which a stream begins."""
    text = call.request.headers.get(LAST_EVENT_ID)
    head = await call.services.log.head()
    if text is None:
        after: int = call.query.get(parameters.AFTER.name, head)
        return after
    position = read_whole(text.strip(), 0, MAX_POSITION)
    if position is None or position > head:
        raise MalformedHeaderError(header=LAST_EVENT_ID)
    return position


async def _send_all(call: Call, response: EventSourceResponse, wanted: Wanted, after: int) -> None:
    log, size = call.services.log, SMALL_BATCH
    while response.is_connected() and call.request.transport is not None:
        if not await call.may_go_on():
            return
        found, upto = await next_after(call.services, after, size, wanted)
        is_large = sum(len(event.payload) for event in found) > BATCH_BYTES
        size = SMALL_BATCH if is_large else BATCH
        for start in range(0, len(found), size):
            for shown in await shown_events(call.services, found[start : start + size]):
                said = _encode(shown).decode()
                await response.send(said, id=str(shown.position), event=shown.topic)
        if upto > after:
            after = upto
            # Neither a page nor a send need ever wait, and others want their turn.
            await asyncio.sleep(0)
        else:
            await log.wait_beyond(after, LOOK_SECONDS)


def _narrow(request: web.Request) -> None:
    """Let the kernel keep little for a client that does not read, so that it shows soon."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport else None
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)


STREAMS = web.AppKey("streams", Streams)
