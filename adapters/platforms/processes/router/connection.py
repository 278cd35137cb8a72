"""One TCP connection: what has come in, what may go out, and whether the other side is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

MAX_HEAD_BYTES = 32 * 1024
PIECE = 64 * 1024
_FULL = 4 * PIECE


class HeadTooLargeError(Exception):
    """A head has more bytes than we read."""


class Connection(asyncio.Protocol):
    """A connection read in heads, lines and pieces; a socket that is ahead is not read further."""

    on_gone: Callable[[], object] | None = None
    """Called when the other side closes its half or is lost."""
    patience: float | None = None
    """Seconds in which the other side must send, or take, something when it is its turn."""
    transport: asyncio.Transport

    def __init__(self, opened: Callable[[Connection], None] | None = None) -> None:
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._ended = False
        self._lost = False
        self._error: Exception | None = None
        self._paused = False
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def peer(self) -> bytes:
        """The other side's address, without its port."""
        address: tuple[str, int] | None = self.transport.get_extra_info("peername")
        return address[0].encode() if address else b"unknown"

    @property
    def here(self) -> bytes:
        """Our own address and port, as in a Host field."""
        host, port, *_ = self.transport.get_extra_info("sockname")
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()

    @property
    def has_more(self) -> bool:
        """Something has come in that was not read yet."""
        return bool(self._incoming)

    async def arrived(self) -> bool:
        """Return true as soon as there is something to read, false when nothing will come."""
        while not self._incoming and not self._ended:
            await self._more()
        return self.has_more

    async def head(self) -> bytes:
        """Return the bytes up to and including the next empty line.

        Errors: HeadTooLargeError; ConnectionError where it ends before; TimeoutError.
        """
        return await self._until(b"\r\n\r\n")

    async def line(self) -> bytes:
        """Return the bytes up to and including the next CR LF; errors as `head`."""
        return await self._until(b"\r\n")

    async def some(self, most: int = PIECE) -> bytes:
        """Return at least one and at most `most` bytes, or none at the end of the stream.

        Errors: ConnectionError where it was cut, TimeoutError where nothing comes.
        """
        while not self._incoming and not self._ended:
            await self._more()
        if self._error and not self._incoming:
            raise ConnectionResetError from self._error
        return self._take(most)

    async def send(self, content: bytes) -> None:
        """Write, and return when there is room for more.

        Errors: ConnectionError; TimeoutError where the other side takes nothing.
        """
        self.write(content)
        await self.room()

    async def room(self) -> None:
        """Return when there is room for more; errors as `send`."""
        if self._room is not None:
            async with asyncio.timeout(self.patience):
                await asyncio.shield(self._room)
            if self._lost:
                raise ConnectionResetError

    def write(self, content: bytes) -> None:
        """Write without waiting; ConnectionError where the other side is lost."""
        if self._lost:
            raise ConnectionResetError
        self.transport.write(content)

    def end(self) -> None:
        """Say that nothing more will be sent."""
        if not self._lost and not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        """Close when what was written has gone out."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once, so that the other side sees that something is missing."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast(asyncio.Transport, transport)
        if self._opened:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._incoming += data
        if len(self._incoming) > _FULL and not self._paused:
            self.transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> bool:
        """Keep our half open: an answer may still be on its way."""
        self._finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._lost = True
        self._error = exc
        self._finish()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See asyncio."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    async def _until(self, mark: bytes) -> bytes:
        seen = 0
        while (at := self._incoming.find(mark, max(seen - len(mark), 0))) < 0:
            if (seen := len(self._incoming)) > MAX_HEAD_BYTES:
                raise HeadTooLargeError
            if self._ended:
                raise ConnectionResetError
            await self._more()
        return self._take(at + len(mark))

    async def _more(self) -> None:
        self._arrival = self._loop.create_future()
        async with asyncio.timeout(self.patience):
            await self._arrival

    def _take(self, most: int) -> bytes:
        taken = bytes(self._incoming[:most])
        del self._incoming[:most]
        if self._paused and len(self._incoming) < PIECE:
            self.transport.resume_reading()
            self._paused = False
        return taken

    def _finish(self) -> None:
        self._ended = True
        self._wake()
        if self.on_gone:
            self.on_gone()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
