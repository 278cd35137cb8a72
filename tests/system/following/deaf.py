"""Deaf: a network to PostgreSQL that brings everything but notifications."""

from __future__ import annotations

import asyncio
import struct

from ..apart.proxy import PIECE, Proxy

NOTIFICATION = b"A"
_HEAD = struct.Struct("!cI")


class Deaf(Proxy):
    """Passes everything on but what the server says to who listens; its URL must have no TLS."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}?sslmode=disable&gssencmode=disable")
        self.lost = 0
        """How many notifications."""

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: int | None,  # noqa: ARG002 - nothing is cut here
    ) -> None:
        # A client begins with a length, the server with a letter.
        piece = await reader.read(PIECE)
        is_the_server = piece[:1].isalpha()
        kept = b""
        while piece:
            kept += piece
            passed, kept = self._sifted(kept) if is_the_server else (kept, b"")
            writer.write(passed)
            await writer.drain()
            piece = await reader.read(PIECE)

    def _sifted(self, said: bytes) -> tuple[bytes, bytes]:
        """Return the whole messages that are passed on, and what is left of one that is cut."""
        passed: list[bytes] = []
        at = 0
        while len(said) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(said, at)
            end = at + 1 + length
            if end > len(said):
                break
            if kind == NOTIFICATION:
                self.lost += 1
            else:
                passed.append(said[at:end])
            at = end
        return b"".join(passed), said[at:]
