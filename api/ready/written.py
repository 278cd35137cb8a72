"""Written: an answer as the bytes that go out, made once and sent to everybody who asks."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

_ALWAYS = "Cache-Control: no-cache\r\nServer: shipslog\r\nX-Content-Type-Options: nosniff\r\n"


class Written(web.StreamResponse):
    """An answer to a plain HTTP/1.1 request whose connection stays open.

    It holds nothing of the request, so that one object answers any number of them at once.
    """

    def __init__(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes = b"") -> None:
        super().__init__(status=status)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}{_ALWAYS}Date: "
        self._start_bytes = start.encode("ascii")
        self._end_bytes = b"\r\n\r\n" + body

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send everything."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        date = rfc822_formatted_time().encode()
        transport.write(b"%b%b%b" % (self._start_bytes, date, self._end_bytes))
        if transport.get_write_buffer_size():
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Add nothing: all has been sent."""
        del data
