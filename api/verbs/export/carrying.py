"""Carrying an export from its source into its sink, over connections that break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

from ....domain.errors import RetryableError
from ....projections.exports import FORMATS, Format, Name
from ...wire.shapes import is_transient
from .sinks import Sink

if TYPE_CHECKING:
    from ....projections.exports import Manifest

TRIES = 8
"""How often in a row nothing comes until it is given up: after about ten seconds."""
LONGEST_WAIT = 3.0

Order = Mapping[str, str]
"""What is asked, by the names that the API has for it."""


class ExportCutOffError(RetryableError):
    """The export was cut off: {why}."""


class Source(Protocol):
    """Where an export comes from."""

    name: str
    """Which log it is."""

    @property
    def has_begun(self) -> bool:
        """Whether it is settled, for good, where the export ends."""
        ...

    def chunks(self, after: int | None, *, has_head: bool) -> AsyncGenerator[bytes]:
        """Yield the export, or what of it is behind a position."""
        ...

    async def manifest(self) -> Manifest:
        """Return the manifest of the whole."""
        ...


async def carry(source: Source, sink: Sink, name: Name) -> None:
    """Bring an export, or the rest of it, into a sink.

    Errors: whatever kept it from beginning; ExportCutOffError once nothing has come
    for a while, however often it was asked for.
    """
    received = _Received(sink, FORMATS[name])
    failures = 0
    while True:
        before = sink.size
        try:
            await received.take_all(source)
        except Exception as error:
            if not (source.has_begun and is_transient(error)):
                raise
            failures = 1 if sink.size > before else failures + 1
            if failures > TRIES:
                raise ExportCutOffError(why=str(error)) from error
            await asyncio.sleep(min(LONGEST_WAIT, 0.1 * 2**failures))
        else:
            return


class _Received:
    """What has come: whole lines go into the sink, and the last one says where to go on."""

    def __init__(self, sink: Sink, made: Format) -> None:
        self._sink = sink
        self._format = made
        self._newest = b""

    async def take_all(self, source: Source) -> None:
        coming = source.chunks(self._last, has_head=not self._sink.size)
        half = b""
        async with aclosing(coming):
            async for chunk in coming:
                lines, newline, half = (half + chunk).rpartition(b"\n")
                if newline:
                    self._sink.write(lines + newline)
                    self._newest = lines.rpartition(b"\n")[2] + newline

    @property
    def _last(self) -> int | None:
        if self._newest in {b"", self._format.HEAD}:
            return self._sink.last
        (entry,) = self._format.entries(BytesIO(self._newest))
        return entry.position
