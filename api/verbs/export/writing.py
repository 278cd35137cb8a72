"""Writing an export: into a file and its manifest, both whole or not there, or to stdout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from ....domain.errors import BrokenError
from ....projections.exports import FORMATS, Manifest, Name
from ...wire.shapes import Document
from .carrying import Order, Source, carry
from .sinks import PartFile, Sink, Stdout, write_whole


class AlteredError(BrokenError):
    """What came is not what the log says: {bytes} bytes of SHA-256 {sha256}; nothing is kept."""


class Wish(NamedTuple):
    """What is wanted, and where."""

    order: Order
    file: Path | None
    """None for the standard output."""
    manifest: Path | None
    """None for beside the file; of what goes to the standard output there is none then."""
    resume: bool

    @property
    def name(self) -> Name:
        """The format."""
        return cast("Name", self.order["format"])


async def write(source: Source, wish: Wish) -> Document | None:
    """Write an export and its manifest, and return the manifest, if there is one.

    Errors: AlteredError for a file that is not what its manifest says.
    """
    if wish.file is not None:
        place = wish.manifest or wish.file.with_name(f"{wish.file.name}.manifest.json")
        return await _write_file(source, wish, wish.file, place)
    sink = Stdout()
    await carry(source, sink, wish.name)
    if wish.manifest is None:
        return None
    return _describe(await _checked(source, sink), wish.manifest)


async def _write_file(source: Source, wish: Wish, file: Path, place: Path) -> Document:
    key = hashlib.sha256(repr([source.name, sorted(wish.order.items())]).encode()).hexdigest()[:8]
    part = PartFile(file, key, FORMATS[wish.name], resume=wish.resume)
    try:
        await carry(source, part, wish.name)
        manifest = await _checked(source, part)
        # In this order, whoever sees the file has its manifest.
        described = _describe(manifest, place)
        part.keep()
    except AlteredError:
        part.drop()
        raise
    finally:
        part.close()
    return described


async def _checked(source: Source, sink: Sink) -> Manifest:
    manifest, content = await source.manifest(), sink.content()
    if content != manifest.content:
        raise AlteredError(**msgspec.to_builtins(content))
    return manifest


def _describe(manifest: Manifest, place: Path) -> Document:
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_whole(place, content + b"\n")
    return cast("Document", msgspec.json.decode(content))
