"""Definition: a pipeline's stored versions, of which the newest is deployed."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .event import Event, Fact


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a pipeline's definition; `version` counts its documents, 0: never defined."""

    name: str
    version: int = 0
    document: dict[str, Any] = {}
    sha256: str = ""
    """Of the newest document, by which its graph is known."""

    class Defined(Event, frozen=True):
        """The pipeline is as this document says from now on; its number is the stream version."""

        TOPIC: ClassVar[str] = "pipeline.defined"
        document: dict[str, Any]
        sha256: str

    @property
    def stream(self) -> str:
        """The stream's name."""
        return stream_of(self.name)


def stream_of(name: str) -> str:
    """Return the stream of a pipeline's name."""
    return f"pipeline:{name}"


def evolve(definition: Definition, fact: Fact) -> Definition:
    """Return the state after one event."""
    changes: dict[str, Any] = {}
    if isinstance(fact.event, Definition.Defined):
        changes = {"document": fact.event.document, "sha256": fact.event.sha256}
    return msgspec.structs.replace(definition, version=definition.version + 1, **changes)
