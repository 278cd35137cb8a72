"""A WebSocket on its way through: bytes in both directions, and a polite end between two frames.

Frames are not decoded, only followed (RFC 6455, section 5.2), so extensions and close codes pass
as they are.
"""

from __future__ import annotations

import asyncio
import contextlib

from .connection import Connection

LINGER = 2.0
"""Seconds a side has to end after the other one did, or after it was told to go away."""

_CLOSE = 8
_GOING_AWAY = b"\x88\x02\x03\xe9"
_GOING_AWAY_MASKED = b"\x88\x82\x00\x00\x00\x00\x03\xe9"


class Tunnel:
    """Two connections, each feeding the other."""

    def __init__(self, client: Connection, service: Connection) -> None:
        self._flows = (
            _Flow(client, service, _GOING_AWAY_MASKED),
            _Flow(service, client, _GOING_AWAY),
        )
        self._carriers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Return when both directions have ended."""
        self._carriers = [asyncio.ensure_future(flow.carry()) for flow in self._flows]
        try:
            await asyncio.wait(self._carriers, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(self._carriers, timeout=LINGER)
        finally:
            self._cut()

    def go_away(self) -> None:
        """Close both sides with 1001 and give them a moment to answer."""
        for flow in self._flows:
            flow.leave()
        asyncio.get_running_loop().call_later(LINGER, self._cut)

    def _cut(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()


class _Flow:
    """One direction."""

    def __init__(self, source: Connection, sink: Connection, farewell: bytes) -> None:
        self._source = source
        self._sink = sink
        self._farewell = farewell
        self._frames = Frames()
        self._is_leaving = False
        self._has_left = False

    async def carry(self) -> None:
        """Pass on what comes until the source ends; after the farewell, wait for its own."""
        with contextlib.suppress(ConnectionError):
            while piece := await self._source.some():
                passed = 0 if self._has_left else await self._pass_on(piece)
                self._frames.follow(piece[passed:], stop_at_end=False)
                if self._has_left and self._frames.have_closed:
                    return
            if not self._has_left:
                self._sink.end()

    def leave(self) -> None:
        """Say farewell to the sink, at once or behind the frame that is on its way."""
        self._is_leaving = True
        with contextlib.suppress(ConnectionError):
            self._leave_between_frames()

    async def _pass_on(self, piece: bytes) -> int:
        passed = self._frames.follow(piece, stop_at_end=self._is_leaving)
        self._sink.write(piece[:passed])
        self._leave_between_frames()
        await self._sink.room()
        return passed

    def _leave_between_frames(self) -> None:
        if self._is_leaving and not self._has_left and self._frames.is_between:
            self._has_left = True
            self._sink.write(self._farewell)


class Frames:
    """Follows the frames of one direction, to know where one ends."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.have_closed = False
        """A close frame has begun."""

    @property
    def is_between(self) -> bool:
        """The last frame is complete and the next one has not begun."""
        return not self._head and not self._left

    def follow(self, piece: bytes, *, stop_at_end: bool) -> int:
        """Follow a piece and return how many bytes were followed.

        That is all of them, or with `stop_at_end` those up to the first end of a frame.
        """
        at = 0
        while at < len(piece) and not (stop_at_end and self.is_between):
            at += self._follow_payload(len(piece) - at) or self._follow_head(piece[at : at + 1])
        return at

    def _follow_payload(self, available: int) -> int:
        step = min(self._left, available)
        self._left -= step
        return step

    def _follow_head(self, byte: bytes) -> int:
        self._head += byte
        if len(self._head) > 1:
            mask, short = self._head[1] & 0x80, self._head[1] & 0x7F
            extended = {126: 2, 127: 8}.get(short, 0)
            if len(self._head) == 2 + extended + (4 if mask else 0):
                self.have_closed = self.have_closed or self._head[0] & 0x0F == _CLOSE
                self._left = int.from_bytes(self._head[2 : 2 + extended]) if extended else short
                self._head = b""
        return 1
