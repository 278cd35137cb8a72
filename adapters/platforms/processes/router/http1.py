"""HTTP/1.1 as bytes (RFC 9112): heads read strictly, bodies by their framing, heads written anew.

What is not plainly one message is refused, so that router and service cannot disagree on where a
request ends.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

from .connection import PIECE, Connection

Field = tuple[bytes, bytes, bytes]
"""Name in lower case, name as sent, value."""

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer upgrade"
    b" transfer-encoding content-length".split()
)
"""Fields that end at the router, and those of the framing, which it writes itself."""

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME = re.compile(_TOKEN)
_REQUEST = re.compile(rb"(%s) ([!-\x7e\x80-\xff]+) HTTP/1\.([01])" % _TOKEN)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (.*))?")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class MalformedError(Exception):
    """A message that is not HTTP/1.1."""


class Fields:
    """The fields of a head, in order."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.items: list[Field] = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
                raise MalformedError
            self.items.append((name.lower(), name, value.strip(b" \t")))

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for lower, _, value in self.items if lower == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """Return the comma-separated values of a field, in lower case."""
        return [
            token.strip(b" \t").lower() for value in self.all(name) for token in value.split(b",")
        ]

    def end_to_end(self) -> list[Field]:
        """Return the fields that are passed on."""
        dropped = HOP_BY_HOP.union(self.tokens(b"connection"))
        return [field for field in self.items if field[0] not in dropped]


class Framing:
    """How long a body is: `length` bytes, chunked, or (both unset) until the connection ends."""

    def __init__(self, *, length: int | None = None, chunked: bool = False) -> None:
        self.length = length
        self.chunked = chunked

    def field(self) -> bytes:
        """Return the line of the head that says so."""
        if self.chunked:
            return b"Transfer-Encoding: chunked\r\n"
        return b"" if self.length is None else b"Content-Length: %d\r\n" % self.length


class Request:
    """The head of a request."""

    def __init__(self, head: bytes) -> None:
        start, *lines = head.strip(b"\r\n").split(b"\r\n")
        match = _REQUEST.fullmatch(start)
        if not match:
            raise MalformedError
        self.method, self.target = match[1], match[2]
        self.is_old = match[3] == b"0"
        self.fields = Fields(lines)
        self.body = self._body()
        hosts = self.fields.all(b"host")
        if len(hosts) > 1 or not (hosts or self.is_old):
            raise MalformedError
        self.host = hosts[0] if hosts else b""
        options = self.fields.tokens(b"connection")
        self.keeps_alive = not self.is_old and b"close" not in options
        self.is_websocket = b"upgrade" in options and self.fields.tokens(b"upgrade") == [
            b"websocket"
        ]

    def _body(self) -> Framing | None:
        lengths = self.fields.all(b"content-length")
        codings = self.fields.all(b"transfer-encoding")
        if codings:
            if lengths or self.is_old or [c.lower() for c in codings] != [b"chunked"]:
                raise MalformedError
            return Framing(chunked=True)
        return Framing(length=_length(lengths)) if lengths else None


class Response:
    """The head of a response to a request."""

    def __init__(self, head: bytes, method: bytes) -> None:
        start, *lines = head[:-4].split(b"\r\n")
        match = _RESPONSE.fullmatch(start)
        if not match or _CONTROL.search(start):
            raise MalformedError
        self.status = int(match[2])
        self.reason = match[3] or b""
        self.fields = Fields(lines)
        is_informational = self.status < HTTPStatus.OK
        self.is_interim = is_informational and self.status != HTTPStatus.SWITCHING_PROTOCOLS
        self.has_body = not (is_informational or self.status in _BODILESS or method == b"HEAD")
        self.framing = self._framing()

    def _framing(self) -> Framing:
        codings = self.fields.tokens(b"transfer-encoding")
        if codings:
            if codings != [b"chunked"]:
                raise MalformedError
            return Framing(chunked=True)
        lengths = set(self.fields.all(b"content-length"))
        return Framing(length=_length(list(lengths)) if lengths else None)


async def pieces(source: Connection, framing: Framing) -> AsyncIterator[bytes]:
    """Read a body piece by piece.

    Errors: ConnectionError where it ends too early, MalformedError for a bad chunk, TimeoutError
    where nothing comes.
    """
    if framing.chunked:
        while size := _chunk_size(await source.line()):
            async for piece in _exactly(source, size):
                yield piece
            if await source.line() != b"\r\n":
                raise MalformedError
        while await source.line() != b"\r\n":
            pass
    elif framing.length is not None:
        async for piece in _exactly(source, framing.length):
            yield piece
    else:
        while piece := await source.some(PIECE):
            yield piece


def head(start: bytes, fields: Iterable[Field], *more: bytes) -> bytes:
    """Return a head: the start line, the fields and lines that end in CR LF already."""
    lines = [b"%s: %s\r\n" % (name, value) for _, name, value in fields]
    return b"".join((start, b"\r\n", *lines, *more, b"\r\n"))


async def _exactly(source: Connection, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await source.some(min(size, PIECE))
        if not piece:
            raise ConnectionResetError
        size -= len(piece)
        yield piece


def _chunk_size(line: bytes) -> int:
    match = _CHUNK.fullmatch(line)
    if not match:
        raise MalformedError
    return int(match[1], 16)


def _length(values: list[bytes]) -> int:
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise MalformedError
    return int(values[0])
