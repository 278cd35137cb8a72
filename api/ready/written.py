"""Written: an answer as the bytes that go out, made once and sent to everybody who asks."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

_ALWAYS = "Cache-Control: no-cache\r\nServer: shipslog\r\nX-Content-Type-Options: nosniff\r\nDate: "


class Written:
    """An answer to a plain HTTP/1.1 request whose connection stays open.

    It has what aiohttp asks of an answer, and nothing of the request: one object answers any
    number of them at once.
    """

    __slots__ = ("_end", "_start", "status")

    keep_alive = True

    def __init__(self, status: HTTPStatus, headers: str, body: bytes = b"") -> None:
        """Make an answer; each line of `headers` ends in CR LF."""
        self.status = status.value
        self._start = f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}{_ALWAYS}".encode()
        self._end = b"\r\n\r\n" + body

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send everything."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        date = rfc822_formatted_time().encode()
        transport.write(b"%b%b%b" % (self._start, date, self._end))
        if transport.get_write_buffer_size():
            await request.writer.drain()

    async def write_eof(self) -> None:
        """Add nothing: all has been sent."""
