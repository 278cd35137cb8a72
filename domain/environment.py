"""Environment: where deployments go; its document, and who is counted against its limits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec

from .event import Event, Fact

WINDOW = timedelta(hours=1)
"""What `per_hour` looks back on."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an environment; `version` 0: never defined."""

    name: str
    version: int = 0
    document: dict[str, Any] = {}
    defined: int = 0
    """Stream version of the newest definition: what an ETag names."""
    first_service: tuple[str, ...] = ()
    """The one service that the short form `listen` belongs to, once it was requested."""
    under_way: frozenset[str] = frozenset()
    admitted_at: tuple[datetime, ...] = ()

    class Defined(Event, frozen=True):
        """The environment is as this document says from now on."""

        TOPIC: ClassVar[str] = "environment.defined"
        document: dict[str, Any]

    class Listened(Event, frozen=True):
        """The environment's one address belongs to this service from now on."""

        TOPIC: ClassVar[str] = "environment.listened"
        service: str

    class Admitted(Event, frozen=True):
        """A deployment counts against the limits from now on."""

        TOPIC: ClassVar[str] = "environment.admitted"
        deployment: str

    class Completed(Event, frozen=True):
        """A deployment counts against `concurrent` no more."""

        TOPIC: ClassVar[str] = "environment.completed"
        deployment: str

    @property
    def stream(self) -> str:
        """The stream's name."""
        return stream_of(self.name)

    @property
    def limits(self) -> dict[str, int | None]:
        """The limits in force: `per_hour` and `concurrent`; None is no limit."""
        limits: dict[str, int | None] = self.document.get("limits") or {}
        return limits

    def admitted_since(self, instant: datetime) -> int:
        """Count the deployments admitted after an instant, at most an hour back."""
        return sum(at > instant for at in self.admitted_at)


def stream_of(name: str) -> str:
    """Return the stream of an environment's name."""
    return f"environment:{name}"


def evolve(environment: Environment, fact: Fact) -> Environment:
    """Return the state after one event."""
    event = fact.event
    changes: dict[str, object] = {}
    match event:
        case Environment.Defined():
            changes = {"document": event.document, "defined": environment.version + 1}
        case Environment.Listened():
            changes = {"first_service": (event.service,)}
        case Environment.Admitted():
            recent = tuple(at for at in environment.admitted_at if at > fact.at - WINDOW)
            changes = {
                "under_way": environment.under_way | {event.deployment},
                "admitted_at": (*recent, fact.at),
            }
        case Environment.Completed():
            changes = {"under_way": environment.under_way - {event.deployment}}
        case _:
            pass
    return msgspec.structs.replace(environment, version=environment.version + 1, **changes)
