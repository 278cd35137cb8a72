"""Services: what the HTTP API needs of the rest of the house; made by the assembly, or by a test.

The store's tables are asked for by role, so that no route knows which store it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from ..domain.access import Actor, Role
from ..domain.errors import BrokenError
from ..domain.event import Sealed
from ..domain.ledger import Door
from ..domain.ports import Blobs, Clock, Log, Stretch
from ..projections.follower import Follower
from .signals.metrics import Metrics

Result = TypeVar("Result")


class Ledger(Log, Protocol):
    """The log, and what stands where in it."""

    async def as_of(self, instant: datetime) -> int:
        """Return the largest position recorded at or before an instant, 0 for none."""
        ...

    def stretches(
        self, make: Callable[[Stretch], Result], *, after: int, upto: int
    ) -> Iterator[Result]:
        """Yield what is made of the events above a position up to another, which is durable.

        It waits for the database where it stands, so on a thread, and holds nothing of it between
        two stretches; the database may look for the next one while something is made of one.
        Errors: CorruptLogError where an event is missing.
        """
        ...

    async def positions_of(self, references: Collection[str]) -> Mapping[str, int]:
        """Return where those of the `stream@version` stand that are in the log."""
        ...


class Person(Protocol):
    """Whom an opaque subject id stands for; `name` is None once erased."""

    @property
    def kind(self) -> str: ...  # noqa: D102 - user, service or system
    @property
    def name(self) -> str | None: ...  # noqa: D102


class Directory(Protocol):
    """Who is behind a subject id; it stands outside the log and can be erased."""

    async def resolve(self, ids: Collection[str]) -> Mapping[str, Person]:
        """Return those of the ids that are known."""
        ...

    async def find(self, kind: str, name: str) -> str | None:
        """Return the subject id of a person, or None."""
        ...

    async def erasures(self) -> int:
        """Return how many people were erased so far: what was read before one is no more."""
        ...

    async def ensure(self, kind: str, name: str) -> str:
        """Return the subject id of a person, a new one where there is none."""
        ...


class Opener(Protocol):
    """Opens personal texts."""

    async def open(self, sealed: Collection[Sealed]) -> Mapping[Sealed, str | None]:
        """Return the texts, None for each whose key is destroyed."""
        ...


class Token(Protocol):
    """A token without its secret."""

    id: str
    subject: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class Tokens(Protocol):
    """Bearer tokens, hashed at rest."""

    async def find(self, token: str) -> Actor | None:
        """Return whom a token was made out for; None if unknown, expired or revoked."""
        ...

    async def create(
        self, subject: str, role: Role, expires_at: datetime | None = None
    ) -> tuple[str, Token]:
        """Store a new token; return its secret, this once, and its row."""
        ...

    async def create_first(self, subject: str, role: Role) -> str | None:
        """Store a token if there is none that is not revoked; return its secret, or None."""
        ...

    async def list(self) -> Sequence[Token]:
        """Return every token that is not revoked."""
        ...

    async def revoke(self, token_id: str) -> bool:
        """Void a token; say whether there was one."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes upon itself; what is above is told to come back."""

    connections: int = 12_000
    idle_seconds: float = 9.0
    """How long a connection may take to bring the head of a request, the first or the next."""
    body_seconds: float = 20.0
    """How long a body may take to arrive."""
    ready_bytes: int = 64 * 1024 * 1024
    """Of all answers that are kept ready; 0 keeps none."""
    answer_bytes: int = 256 * 1024 * 1024
    """Of all large answers that are on their way to clients."""
    body_bytes: int = 64 * 1024 * 1024
    """Of all bodies in memory together."""
    requests: int = 1024
    """At work at once, event streams and probes not counted."""
    visible_seconds: float = 10.0
    """How long a read waits until the read models have reached its `Ledger-Position`."""
    appends: int = 1024
    """Waiting for the writer; with more, whoever wants to change something is told to come back."""
    streams: int = 1000
    """Event streams at once."""
    heartbeat_seconds: float = 15.0
    stalled_seconds: float = 15.0
    """How long an event stream or an export waits for a client that does not read."""
    exports: int = 8
    """Exports at once, and manifests."""
    bad_tokens: int = 100
    """By source and minute."""
    linger_seconds: float = 5.0
    """How long the rest of a refused body is taken in, so that its sender hears why."""
    drain_seconds: float = 20.0
    """How long requests may take to end when the server does."""


def _never_broken() -> None:
    return None


def _none_waiting() -> int:
    return 0


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that routes work with."""

    door: Door
    log: Ledger
    blobs: Blobs
    follower: Follower
    directory: Directory
    keyring: Opener
    tokens: Tokens
    clock: Clock
    broken: Callable[[], BrokenError | None] = _never_broken
    """Why the store takes nothing any more, or None."""
    waiting_appends: Callable[[], int] = _none_waiting
    """How many appends wait for the writer."""
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = field(default_factory=Limits)
