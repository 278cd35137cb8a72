"""What a `deploy` stage says: the command, its health, the strategy, the rollback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, StrictInt, Tag

from .. import health
from .argv import Argv
from .document import Written
from .fields import (
    MAX_PORT,
    Duration,
    HttpPath,
    Share,
    between,
    refuse,
    seconds,
    told_apart_by,
    unbuilt,
)

MAX_CHECKS = 50
MAX_CAPACITY = 100
MAX_ATTEMPTS = 1000


def _port(value: object) -> Literal[True] | int:
    if value is True or (isinstance(value, int) and 1 <= value <= MAX_PORT):
        return value
    return refuse("This is true, for the checked port itself, or a port from 1 to 65535.")


class HttpCheck(Written):
    """GET a path; the answer's status must be `expect`."""

    http: HttpPath
    expect: Annotated[StrictInt, Field(ge=100, le=599)] = 200


class TcpCheck(Written):
    """Open a connection to the checked port, or to another of the same host."""

    tcp: Annotated[
        Literal[True] | int,
        PlainValidator(_port, json_schema_input_type=Literal[True] | int),
    ]


class CommandCheck(Written):
    """Run a command in the workspace; it must exit with 0."""

    command: Argv


AnyCheck = Annotated[
    Annotated[HttpCheck, Tag("$http")]
    | Annotated[TcpCheck, Tag("$tcp")]
    | Annotated[CommandCheck, Tag("$command")],
    told_apart_by("http", "tcp", "command"),
]
Checks = Annotated[
    Sequence[AnyCheck], Field(min_length=1, max_length=MAX_CHECKS), AfterValidator(tuple)
]


class Health(Written):
    """The checks asked of each new instance, how patiently, and how much health passes."""

    checks: Checks = (TcpCheck(tcp=True),)
    timeout: Annotated[Duration, between("1ms", "5m")] = "2s"
    interval: Annotated[Duration, between("10ms", "5m")] = "500ms"
    attempts: Annotated[StrictInt, Field(ge=1, le=MAX_ATTEMPTS)] = 10
    require: Literal["healthy", "degraded"] = "degraded"

    def policy(self) -> health.HealthPolicy:
        """Return this as a plan says it."""
        return health.HealthPolicy(
            checks=asked(self.checks),
            timeout=seconds(self.timeout),
            interval=seconds(self.interval),
            attempts=self.attempts,
            require=health.Require(self.require),
        )


def asked(checks: Sequence[AnyCheck]) -> tuple[health.Check, ...]:
    """Return checks as a plan says them."""
    return tuple(_asked(check) for check in checks)


def _asked(check: AnyCheck) -> health.Check:
    match check:
        case HttpCheck():
            return health.HttpCheck(check.http, check.expect)
        case TcpCheck():
            return health.TcpCheck(None if check.tcp is True else check.tcp)
        case CommandCheck():
            return health.CommandCheck(tuple(check.command))


class BlueGreen(Written):
    """The new revision beside the old, switched at once, then watched for a while."""

    kind: Annotated[Literal["blue_green"], unbuilt("strategy", "canary", "rolling", "recreate")] = (
        "blue_green"
    )
    monitor: Annotated[Duration, between("0s", "24h")] = "10s"
    max_error_share: Share = 500
    """Basis points of 5xx answers that are allowed, once there are `min_requests`."""
    min_requests: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 20


Choice = Annotated[Literal["immediate"], unbuilt("rollback", "gradual", "controlled")]


class Rollback(Written):
    """How a rollout is undone, by the reason."""

    health_failure: Choice = "immediate"
    degradation: Choice = "immediate"
    user: Choice = "immediate"


class Rollout(Written):
    """What runs, how many of it, and how it takes the place of what ran before."""

    command: Argv
    capacity: Annotated[StrictInt, Field(ge=1, le=MAX_CAPACITY)] = 1
    strategy: BlueGreen = BlueGreen()
    drain: Annotated[Duration, between("0s", "1h")] = "30s"
    health: Health = Health()
    rollback: Rollback = Rollback()
