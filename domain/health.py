"""Health: many check results become healthy, degraded or unhealthy."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class HttpCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="http"):
    """GET a path of the checked address; the answer's status must be `expect`."""

    path: str
    expect: int = 200


class TcpCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="tcp"):
    """Open a connection to the checked address, or to another `port` of the same host."""

    port: int | None = None


class CommandCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="command"):
    """Run a command in the workspace; it must exit with 0. `{port}` is the checked port."""

    argv: tuple[str, ...]


Check = HttpCheck | TcpCheck | CommandCheck


class Require(StrEnum):
    """The least health that passes."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"


class HealthPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which checks are asked of each address, all at once, and how patiently."""

    checks: tuple[Check, ...]
    timeout: float = 2.0
    """Seconds one answer may take."""
    interval: float = 0.5
    """Seconds between two attempts of one check."""
    attempts: int = 10
    require: Require = Require.DEGRADED


class Health(StrEnum):
    """The sum of many checks."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    def satisfies(self, require: Require) -> bool:
        """Say whether this is at least what is required."""
        return self is Health.HEALTHY or (self is Health.DEGRADED and require is Require.DEGRADED)


def sum_up(passed: Iterable[bool]) -> Health:
    """Return healthy if all passed, degraded if fewer than half failed, else unhealthy.

    Nothing asked is nothing known: unhealthy.

    >>> sum_up([True, True, False])
    <Health.DEGRADED: 'degraded'>
    >>> sum_up([True, False])
    <Health.UNHEALTHY: 'unhealthy'>
    """
    results = list(passed)
    failed = results.count(False)
    if not results:
        return Health.UNHEALTHY
    if failed == 0:
        return Health.HEALTHY
    return Health.DEGRADED if failed * 2 < len(results) else Health.UNHEALTHY
