"""Proxy: a network between a process and its database that swallows, cuts and delays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import repeat
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PIECE = 64 * 1024


class Proxy:
    """Passes bytes on in both directions, as long as the network is well."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._there = str(where.hostname), int(where.port or 0)
        self._url = where
        self._passes = asyncio.Event()
        self._passes.set()
        self._lives: Iterator[int | None] = repeat(None)
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server:
            self._server.close()
        self._passes.set()
        await self.cut()

    @property
    def url(self) -> str:
        """How the database is reached through here."""
        assert self._server
        port = self._server.sockets[0].getsockname()[1]
        user = self._url.netloc.rpartition("@")[0]
        return self._url._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    def swallow(self) -> None:
        """Let nothing through and tell nobody: connections stay half open."""
        self._passes.clear()

    def heal(self) -> None:
        """Let everything through."""
        self._passes.set()
        self._lives = repeat(None)

    def cut_after(self, lives: Iterator[int | None]) -> None:
        """Cut each connection that is opened from now on after so many bytes to the database."""
        self._lives = lives

    async def cut(self) -> None:
        """Reset every connection."""
        for task in [*self._open]:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a server that is away, a cut
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        upward, downward = await asyncio.open_connection(*self._there)
        both = (
            asyncio.create_task(self._pass_on(reader, downward, next(self._lives))),
            asyncio.create_task(self._pass_on(upward, writer, None)),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            downward.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        while piece := await reader.read(PIECE):
            await self._passes.wait()
            writer.write(piece if left is None else piece[:left])
            await writer.drain()
            if left is not None and (left := left - len(piece)) <= 0:
                return
