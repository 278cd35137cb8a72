"""Transaction: events decided together, over any number of streams, stored together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from . import definition, deployment, environment, target
from .append import Append, Draft, Due, Lease
from .definition import Definition
from .deployment import Deployment
from .environment import Environment
from .event import CommandRef, Event, Fact, Fence
from .plan import Plan
from .target import Target

Aggregate = Deployment | Target | Environment | Definition
Kind = TypeVar("Kind", bound=Aggregate)

_NOTHING: Mapping[str, int] = MappingProxyType({})
_EMPTY: Mapping[str, Callable[[str], Aggregate]] = {
    "deployment": lambda name: Deployment(id=name),
    "target": lambda name: Target(name=name),
    "environment": lambda name: Environment(name=name),
    "pipeline": lambda name: Definition(name=name),
}


def empty(stream: str) -> Aggregate:
    """Return the state of a stream before its first event."""
    kind, _, name = stream.partition(":")
    return _EMPTY[kind](name)


def fold(state: Aggregate, fact: Fact) -> Aggregate:
    """Return any aggregate's state after one event."""
    match state:
        case Deployment():
            return deployment.evolve(state, fact)
        case Target():
            return target.evolve(state, fact)
        case Environment():
            return environment.evolve(state, fact)
        case Definition():
            return definition.evolve(state, fact)


class Transaction:
    """What one decision writes; `states` are the aggregates as they will be after it."""

    def __init__(self, *, now: datetime, actor: str, lease: Lease | None = None) -> None:
        self.now = now
        self.actor = actor
        self.lease = lease
        self.fence: Fence | None = None
        self.states: dict[str, Aggregate] = {}
        self._drafts: list[Draft] = []
        self._commands: list[CommandRef] = []
        self._due: dict[str, Due] = {}
        self._cause: str | None = None

    def obey(self, command: CommandRef, cause: str | None = None) -> None:
        """Let what is recorded from now on come from this command, caused by `stream@version`."""
        self._commands.append(command)
        self._cause = cause

    def load(self, state: Aggregate, last_at: datetime | None = None) -> None:
        """Take in an aggregate as it stands in the log; its time never runs backwards."""
        self.states[state.stream] = state
        if last_at is not None and last_at > self.now:
            self.now = last_at

    def state(self, kind: type[Kind], stream: str) -> Kind:
        """Return a loaded aggregate as it is after what is recorded so far."""
        state = self.states[stream]
        if not isinstance(state, kind):
            raise TypeError(stream)
        return state

    @property
    def versions(self) -> dict[str, int]:
        """The versions of the loaded streams after what is recorded so far."""
        return {stream: state.version for stream, state in self.states.items()}

    def record(self, stream: str, event: Event) -> None:
        """Add an event to a loaded stream; those after it in this command are caused by it."""
        before = self.states.get(stream) or empty(stream)
        draft = self._draft(stream, before.version + 1, event)
        self._drafts.append(draft)
        self.states[stream] = fold(before, Fact(event, draft.occurred_at, self.actor))
        if self._cause is None:
            self._cause = f"{stream}@{draft.version}"

    def look_again(self, stream: str, at: datetime | None) -> None:
        """Let the owner of a deployment look at it at an instant; None: it is final."""
        self._due[stream] = Due(stream, at)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded."""
        return not self._drafts

    def append(self, expects: Mapping[str, int] = _NOTHING) -> Append:
        """Return what goes to the log, if the streams it rests on have these versions."""
        return Append(
            drafts=tuple(self._drafts),
            commands=tuple(self._commands),
            due=tuple(self._due.values()),
            lease=self.lease,
            expects=expects,
        )

    def _draft(self, stream: str, version: int, event: Event) -> Draft:
        kind, _, name = stream.partition(":")
        where, service = self._place(kind, name, event)
        about = name if kind == "deployment" else getattr(event, "deployment", None)
        return Draft(
            stream=stream,
            version=version,
            event=event,
            occurred_at=self.now,
            actor=self.actor,
            command=self._commands[-1],
            environment=where,
            service=service,
            deployment=about,
            causation=self._cause,
            correlation=about,
            fence=self.fence,
        )

    def _place(self, kind: str, name: str, event: Event) -> tuple[str | None, str | None]:
        """Return the environment and the service that an event of a stream is about."""
        match kind:
            case "deployment":
                plan = event.plan if isinstance(event, Deployment.Requested) else self._plan(name)
                return plan.environment, plan.service
            case "target":
                where, _, service = name.partition("/")
                return where, service
            case "environment":
                return name, None
            case _:
                return None, event.document.get("service")  # type: ignore[attr-defined]

    def _plan(self, name: str) -> Plan:
        return self.state(Deployment, deployment.stream_of(name)).recorded_plan
