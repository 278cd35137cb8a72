"""One request on its way to a revision, and the answer on its way back."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus

from .connection import Connection, HeadTooLargeError
from .http1 import Framing, MalformedError, Request, Response, head, pieces
from .revision import Revision
from .tunnel import Tunnel

CONNECT_WITHIN = 5.0
"""Seconds an instance has to take a connection."""
_SERVICE_ERRORS = (ConnectionError, MalformedError, HeadTooLargeError)


class UnreachableError(ConnectionError):
    """No instance took the connection."""


class Exchange:
    """A request and its answer, over a connection to the service of their own."""

    def __init__(self, client: Connection, request: Request, revision: Revision) -> None:
        self._client = client
        self._request = request
        self._revision = revision
        self._upload: asyncio.Task[None] | None = None
        self._is_bad = False
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> bool:
        """Carry it out; return whether the client's connection can take another request."""
        try:
            service = await _connect(self._revision)
        except UnreachableError:
            return await self._give_up()
        try:
            service.write(self._request_head())
            if self._request.body:
                self._upload = asyncio.ensure_future(self._send_body(self._request.body, service))
            return await self._answer(service)
        finally:
            if self._upload:
                self._upload.cancel()
            service.abort()

    async def _answer(self, service: Connection) -> bool:
        try:
            response = await self._response(service)
        except _SERVICE_ERRORS:
            return await self._give_up()
        self._revision.answered(response.status, asyncio.get_running_loop().time() - self._began)
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            await self._tunnel(service, response)
            return False
        try:
            return await self._pass_back(service, response)
        except _SERVICE_ERRORS:
            if not self._is_bad:
                self._revision.broke_off(response.status)
            self._client.abort()
            return False

    async def _response(self, service: Connection) -> Response:
        """Return the final answer's head; those before it (100 Continue) are passed on at once."""
        while True:
            response = Response(await service.head(), self._request.method)
            if not response.is_interim:
                break
            if not self._request.is_old:
                await self._client.send(_response_head(response))
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS and not self._request.is_websocket:
            raise MalformedError
        return response

    async def _pass_back(self, service: Connection, response: Response) -> bool:
        framing = self._framing_back(response)
        keeps = self._request.keeps_alive and (self._upload is None or self._upload.done())
        held = _response_head(response, framing.field(), b"" if keeps else b"Connection: close\r\n")
        if response.has_body:
            if not service.has_more:
                await self._client.send(held)
                held = b""
            async for piece in pieces(service, response.framing):
                await self._client.send(held + (_chunk(piece) if framing.chunked else piece))
                held = b""
            held += b"0\r\n\r\n" if framing.chunked else b""
        if held:
            await self._client.send(held)
        return keeps

    def _framing_back(self, response: Response) -> Framing:
        if response.has_body and response.framing.length is None:
            return Framing(chunked=not self._request.is_old)
        return Framing() if response.status == HTTPStatus.NO_CONTENT else response.framing

    async def _tunnel(self, service: Connection, response: Response) -> None:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        await self._client.send(_response_head(response, upgrade))
        self._client.on_gone = None
        self._client.patience = None
        await self._revision.carry(Tunnel(self._client, service))

    async def _send_body(self, body: Framing, service: Connection) -> None:
        """Pass the body on; where the service no longer takes it, what it answers decides."""
        try:
            async for piece in pieces(self._client, body):
                with contextlib.suppress(ConnectionError):
                    await service.send(_chunk(piece) if body.chunked else piece)
            if body.chunked:
                with contextlib.suppress(ConnectionError):
                    await service.send(b"0\r\n\r\n")
        except (*_SERVICE_ERRORS, TimeoutError):
            self._is_bad = True
            service.abort()

    async def _give_up(self) -> bool:
        if self._is_bad:
            return await refuse(self._client, HTTPStatus.BAD_REQUEST)
        self._revision.failed()
        return await refuse(self._client, HTTPStatus.BAD_GATEWAY)

    def _request_head(self) -> bytes:
        request = self._request
        start = b"%s %s HTTP/1.1" % (request.method, request.target)
        passed = [f for f in request.fields.end_to_end() if f[0] != b"x-forwarded-for"]
        names = {field[0] for field in passed}
        hops = b", ".join((*request.fields.all(b"x-forwarded-for"), self._client.peer))
        more = [b"X-Forwarded-For: %s\r\n" % hops]
        if b"x-forwarded-proto" not in names:
            more.append(b"X-Forwarded-Proto: http\r\n")
        if request.host and b"x-forwarded-host" not in names:
            more.append(b"X-Forwarded-Host: %s\r\n" % request.host)
        if not request.host:
            more.append(b"Host: %s\r\n" % self._client.here)
        more.append(request.body.field() if request.body else b"")
        upgrade = b"Upgrade\r\nUpgrade: websocket" if request.is_websocket else b"close"
        return head(start, passed, *more, b"Connection: %s\r\n" % upgrade)


async def refuse(client: Connection, status: HTTPStatus, *more: bytes) -> bool:
    """Answer in the service's place; the connection takes no further request."""
    text = f"{status.value} {status.phrase}\n".encode()
    lines = (*more, b"Connection: close\r\nContent-Type: text/plain\r\n")
    start = b"HTTP/1.1 %d %s" % (status.value, status.phrase.encode())
    await client.send(head(start, (), *lines, Framing(length=len(text)).field()) + text)
    return False


async def _connect(revision: Revision) -> Connection:
    loop = asyncio.get_running_loop()
    for address in revision.next_addresses():
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CONNECT_WITHIN):
                _, connection = await loop.create_connection(Connection, *address)
                return connection
    raise UnreachableError


def _response_head(response: Response, *more: bytes) -> bytes:
    start = b"HTTP/1.1 %d %s" % (response.status, response.reason)
    return head(start, response.fields.end_to_end(), *more)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)
