"""Admission: whether a deployment may start now, must wait, or is refused."""

from __future__ import annotations

from datetime import datetime

from .deployment import Deployment
from .environment import WINDOW, Environment
from .errors import LimitReachedError, TargetBusyError
from .target import Target
from .transaction import Transaction


def admit(
    transaction: Transaction, deployment: str, target: Target, environment: Environment
) -> None:
    """Let a requested deployment hold its target, or stand in line for it.

    Errors: TargetBusyError where the environment's policy is `refuse`, LimitReachedError.
    """
    stream = f"deployment:{deployment}"
    _count(transaction, deployment, environment)
    if target.holder is None:
        transaction.record(target.stream, Target.Held(deployment=deployment))
        transaction.look_again(stream, transaction.now)
        return
    if environment.document.get("concurrency") == "refuse":
        raise TargetBusyError(target=target.name, holder=target.holder)
    ahead = target.queue[-1] if target.queue else target.holder
    transaction.record(stream, Deployment.Queued(behind=ahead))
    transaction.record(target.stream, Target.Queued(deployment=deployment))
    transaction.look_again(stream, transaction.now)


def what_holds(target: Target, since: datetime) -> list[dict[str, str | None]]:
    """Return what a request would wait for now, as the status document's `waiting_on` says it."""
    if target.holder is None:
        return []
    detail = f"deployment {target.holder}"
    return [{"kind": "target", "detail": detail, "since": since.isoformat(), "until": None}]


def is_limited(environment: Environment) -> bool:
    """Say whether the environment counts its deployments."""
    return any(environment.limits.values())


def _count(transaction: Transaction, deployment: str, environment: Environment) -> None:
    limits, last_hour = environment.limits, environment.admitted_since(transaction.now - WINDOW)
    _within(environment, limits.get("per_hour"), last_hour, "an hour")
    _within(environment, limits.get("concurrent"), len(environment.under_way), "at once")
    if is_limited(environment):
        transaction.record(environment.stream, Environment.Admitted(deployment=deployment))


def _within(environment: Environment, limit: int | None, count: int, unit: str) -> None:
    if limit is not None and count >= limit:
        raise LimitReachedError(environment=environment.name, limit=limit, unit=unit)
