"""Sources: where an export comes from, a server or the store itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ....domain.errors import InvalidError
from ....projections.exports import (
    Made,
    Manifest,
    Name,
    Positions,
    Query,
    Selection,
    Tally,
    manifest_of,
    written,
)
from ...exporting import batches, select, subject_of
from ...wire import parameters
from .carrying import Order

if TYPE_CHECKING:
    from ...assembly import Archive
    from ...client import Client

EXPORTS = "/v1/exports"
_PARAMETERS = {
    one.name: one.kind
    for one in (
        parameters.FORMAT,
        parameters.FROM,
        parameters.TO,
        parameters.ENVIRONMENT,
        parameters.SERVICE,
        parameters.ACTOR,
        parameters.KIND,
    )
}


class BadOptionError(InvalidError):
    """--{name} {value}: {sentence}."""


class AtServer:
    """The log of a server."""

    def __init__(self, client: Client, order: Order) -> None:
        self.name = client.url
        self._client = client
        self._order = dict(order)

    @property
    def has_begun(self) -> bool:
        """Implement `Source.has_begun`."""
        return "as_of" in self._order

    async def chunks(self, after: int | None, *, has_head: bool) -> AsyncGenerator[bytes]:
        """Implement `Source.chunks`."""
        order = self._order | {"header": "present" if has_head else "absent"}
        if after is not None:
            order["from"] = str(after + 1)
        async with self._client.download(EXPORTS, order) as coming:
            self._order["as_of"] = str(coming.position)
            async for chunk in coming.chunks:
                yield chunk

    async def manifest(self) -> Manifest:
        """Implement `Source.manifest`: the server makes the hash anew, from its log."""
        document = await self._client.long_read(f"{EXPORTS}/manifest", self._order)
        return msgspec.convert(document, Manifest)


class Here:
    """The log of a store that is read without a server."""

    def __init__(self, archive: Archive, name: str, order: Order) -> None:
        self.name = name
        self._archive = archive
        self._asked = _read(order)
        self._selection: Selection | None = None
        self._tally: Tally | None = None

    @property
    def has_begun(self) -> bool:
        """Implement `Source.has_begun`."""
        return self._selection is not None

    async def chunks(self, after: int | None, *, has_head: bool) -> AsyncGenerator[bytes]:
        """Implement `Source.chunks`."""
        selection, tally = await self._selected(), Tally()
        if after is not None:
            rest = Positions(after + 1, selection.positions.last)
            selection = msgspec.structs.replace(selection, positions=rest)
        lines = tally.over(written(self._archive.log, selection, has_head=has_head))
        with ThreadPoolExecutor(1) as thread:
            async with aclosing(batches(lines, thread)) as coming:
                async for batch in coming:
                    for chunk in batch:
                        yield chunk.content
        self._tally = tally if has_head and after is None else None

    async def manifest(self) -> Manifest:
        """Implement `Source.manifest`."""
        if self._tally is None:
            async with aclosing(self.chunks(None, has_head=True)) as coming:
                async for _ in coming:
                    pass
        tally = cast("Tally", self._tally)
        made = Made(datetime.now(UTC), None, f"shipslog {version('shipslog')}")
        return manifest_of(await self._selected(), tally, made)

    async def _selected(self) -> Selection:
        if self._selection is None:
            asked, log = dict(self._asked), self._archive.log
            name: Name = asked.pop("format")
            if "actor" in asked:
                asked["actor"] = await subject_of(self._archive.directory, asked["actor"])
            query = Query(from_=asked.pop("from", None), **asked)
            self._selection = await select(log, name, query, await log.head())
        return self._selection


def _read(order: Order) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for name, text in order.items():
        asked[name] = _PARAMETERS[name].read(text)
        if asked[name] is None:
            raise BadOptionError(name=name, value=text, sentence=_PARAMETERS[name].sentence[:-1])
    return asked
