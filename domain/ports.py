"""What the outside must offer: the log, the platform, the probes, secrets and the clock.

A port is a role; adapters are named technology + role (`ProcessesPlatform`). All times are
aware UTC datetimes, durations seconds as float, weights integer basis points (10,000 = 100 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from .append import Append, Appended, Due, Lease
from .event import Fence, Recorded


class Clock(Protocol):
    """Says what time it is and waits for a later one."""

    def now(self) -> datetime:
        """Return the present instant, aware, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


class Log(Protocol):
    """The append-only, gapless log and what belongs to its transaction."""

    async def append(self, append: Append) -> Appended:
        """Store all drafts or none, durably, and return their positions.

        A known command id answers with the positions it was given before (`known` is true).
        Errors: ConflictError (a stream has moved on), FenceLostError (the lease's token is old),
        IdempotencyMismatchError (the same id with another body), OutcomeUnknownError (at commit).
        """
        ...

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Return one stream's events above a stream version, in order, up to the durable head."""
        ...

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Return at most `limit` events above a position, in order, up to the durable head."""
        ...

    async def newer(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Return what comes after a position, at most `limit` events, in order.

        It is for who follows the log: it may end sooner than a page, and is empty only where no
        more is durable.
        """
        ...

    async def head(self) -> int:
        """Return the position of the newest durable event, 0 for an empty log."""
        ...

    async def command(self, command_id: str) -> Appended | None:
        """Return where a command's events stand, or None if the id is unknown."""
        ...

    async def wait_beyond(self, position: int, timeout: float) -> int:
        """Return the head as soon as it is above `position`, or after `timeout` seconds."""
        ...


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Stored events that follow each other without a gap, as their exact bytes."""

    first: int
    """The position of the first."""
    states: Sequence[bytes]
    """Of each the header line, a newline and the payload line."""

    @property
    def last(self) -> int:
        """The position of the last."""
        return self.first + len(self.states) - 1


class WorkQueue(Protocol):
    """Who owns which deployment: liveness, not history."""

    async def claim(self, owner: str, limit: int) -> Sequence[Lease]:
        """Take due, unowned deployments for an owner, each under a token that only grows."""
        ...

    async def hold(self, owner: str, stream: str) -> Lease | None:
        """Take a `target:…` that nobody owns, due or not, under a token above all before it.

        It is given back by forgetting it, and never claimed. None where somebody owns it.
        """
        ...

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Let leases last longer, and return those that still hold; others are lost for good."""
        ...

    async def release(self, lease: Lease, due: Due | None) -> None:
        """Give a deployment back, due again at an instant, or with `None` at once."""
        ...


class Blobs(Protocol):
    """What stages printed, by digest."""

    async def put(self, content: bytes) -> str:
        """Store bytes and return their digest, `sha256:<hex>`.

        No event that is appended after this returns is durable before they are.
        """
        ...

    async def get(self, digest: str) -> bytes | None:
        """Return the bytes of a digest, or None if unknown."""
        ...


class EffectKey(msgspec.Struct, frozen=True, order=True):
    """One try of one stage of one deployment; written `deployment/stage/attempt`."""

    deployment: str
    stage: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.deployment}/{self.stage}/{self.attempt}"


class Effect(msgspec.Struct, frozen=True):
    """The right to change one target once: what is done, under which fence, until when."""

    key: EffectKey
    target: str
    """`environment/service`; fences are compared per target."""
    fence: Fence
    deadline: datetime


class Launch(msgspec.Struct, frozen=True):
    """How to start a command: everything is an argument list, nothing is a shell string.

    `values` fills the placeholders `{name}` of each argument in one pass (`{workspace}` and, for
    instances, `{port}` are added by the platform); `env` is what the stage declared, secrets
    resolved; `secrets` are values to redact from everything that is printed.
    """

    argv: tuple[str, ...]
    values: Mapping[str, str]
    workspace: str
    """Id of the deployment whose workspace is the working directory."""
    env: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    """Folders in which a bare argv[0] is looked up; empty means the platform's default."""
    inherit: tuple[str, ...] = ()
    """Names passed on from the platform's own environment."""


class Ended(msgspec.Struct, frozen=True):
    """How a command ended. `exit_code` is None where a signal or the deadline ended it."""

    exit_code: int | None
    signal: int | None
    timed_out: bool
    output: bytes
    """At most 1 MiB of stdout and stderr as printed, redacted."""
    truncated: bool
    lost: bool = False
    """The platform started it and can no longer say how it ended."""
    error: str | None = None
    """Why it could not be started at all."""


class RevisionSpec(msgspec.Struct, frozen=True):
    """A set of instances of one version of a service."""

    revision: str
    version: str
    launch: Launch
    capacity: int


class Instance(msgspec.Struct, frozen=True):
    """One process of a revision: where it listens and whether it still runs."""

    host: str
    port: int
    pid: int
    alive: bool
    exit_code: int | None = None
    """Minus the signal where one ended it; 127 where it could not be started."""
    detail: str | None = None
    """Why it could not be started, or the last line that it printed before it ended."""


class Route(msgspec.Struct, frozen=True):
    """Where a service's users connect, and how requests are shared among its revisions."""

    listen: str
    weights: Mapping[str, int]
    """Revision to basis points; they sum to 10,000, or the mapping is empty: nothing is served."""


class Traffic(msgspec.Struct, frozen=True):
    """Requests answered by one revision since it was first routed."""

    requests: int
    failures: int
    """5xx answers, and answers that could not be had from the revision at all."""
    statuses: Mapping[int, int]
    in_flight: int
    latency_ms: Mapping[str, float]
    """Quantiles `p50 p90 p99` of the newest requests, milliseconds."""


class FenceClass(StrEnum):
    """What a platform promises of an effect of which nobody knows whether it took place.

    The first three may be asked again under the same effect key; the last must not be.
    """

    FENCED = "fenced"
    """It refuses a lower fence, and does the same effect key only once."""
    IDEMPOTENT = "idempotent"
    """It does the same effect key only once."""
    OBSERVABLE = "observable"
    """It shows what has become of an effect before it is asked for again."""
    NONE = "none"
    """Nothing: an operator has to decide."""


class Platform(Protocol):
    """Where services run. Every change is fenced per target and idempotent by its effect key.

    Errors: FenceRefusedError for a lower fence than the target has seen; PlatformUnavailableError
    where the platform cannot be reached (retryable; nothing may be assumed about the effect).
    """

    @property
    def fence_class(self) -> FenceClass:
        """What may be done where nobody knows whether an effect took place."""
        ...

    async def announce(self, target: str, fence: Fence) -> None:
        """Let everything under a lower fence be refused at a target from now on; again: nothing.

        Who takes a target over says so before it looks at anything. What had been let pass before
        has had its effect when this returns, so that a look finds it; commands and drains go on.
        """
        ...

    async def prepare(self, effect: Effect, workspace: str, source: str | None) -> None:
        """Make a workspace: a copy of `source`, or empty; again: nothing."""
        ...

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """Run a command to its end; where this effect key was started before, wait for that one.

        At the effect's deadline the whole process tree is killed. A cancelled call leaves the
        command running: `stop` ends it.
        """
        ...

    async def stop(self, effect: Effect) -> None:
        """End the command of this effect key with its whole process tree; again: nothing.

        From now on nothing is done under the key, whenever it was asked for: a command is not
        started, `start`, `route` and `retire` are a StateConflictError. What a start has not
        brought up yet is ended, what it has is for `retire`. That is kept until `forget`.
        """
        ...

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        """Have `capacity` instances of a revision on fresh ports.

        Those that run are kept, also where they were being retired; those that have ended are
        replaced, but for what this very effect key has started.
        """
        ...

    async def instances(self, target: str, revision: str) -> Sequence[Instance]:
        """Return a revision's instances as they are now; none if it is unknown."""
        ...

    async def route(self, effect: Effect, route: Route) -> None:
        """Set the route of the effect's target in one step, for every request from now on.

        Errors: AddressTakenError where its address cannot be listened on.
        """
        ...

    async def routed(self, target: str) -> Route | None:
        """Return the route in force, or None where the target has none."""
        ...

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """Let a revision finish what it has in flight, then end its instances; again: nothing.

        After `drain` seconds WebSockets are closed with 1001; plain requests get until the
        effect's deadline.
        """
        ...

    async def traffic(self, target: str) -> Mapping[str, Traffic]:
        """Return the counts of requests by revision."""
        ...

    async def forget(self, target: str, deployments: Sequence[str]) -> None:
        """Delete what is kept of a target's deployments, but where something runs in it.

        They are named, and not those that stay: what begins meanwhile is in no danger.
        """
        ...


class Probe(Protocol):
    """Asks one address one question."""

    async def http(self, url: str, expect: int, timeout: float) -> ProbeAnswer:
        """GET an address; the answer's status must be `expect`; bytes and time are bounded."""
        ...

    async def tcp(self, host: str, port: int, timeout: float) -> ProbeAnswer:
        """Open a connection and close it."""
        ...


class ProbeAnswer(msgspec.Struct, frozen=True):
    """Whether a check passed, and in one line why not."""

    passed: bool
    detail: str
    seconds: float


class SecretRef(msgspec.Struct, frozen=True):
    """Names a secret, `env:NAME` or `file:PATH`; its value is stored nowhere."""

    secret: str


class SecretStore(Protocol):
    """Gives a secret's value at the moment of use."""

    def resolve(self, reference: str) -> str:
        """Return the value of `env:NAME` or `file:PATH`; SecretMissingError if there is none."""
        ...
