"""Timeline: while a server lived, everything went on in time (I21), and came back in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from shipslog.domain.deployment import Deployment
from shipslog.domain.event import Recorded
from shipslog.domain.target import Target

from .users import Users

ENDLESS = datetime.max.replace(tzinfo=UTC)


class Life(NamedTuple):
    """From when a server was ready until it was killed."""

    ready: datetime
    dead: datetime


class Tenure(NamedTuple):
    """A deployment that held its target, and when it went on; the last instant is its end."""

    deployment: str
    steps: tuple[datetime, ...]


def stalls(log: Sequence[Recorded], lives: Sequence[Life], seconds: float) -> Iterator[str]:
    """Yield each deployment that did nothing for longer than this while a server lived."""
    for tenure in tenures(log):
        for life in lives:
            for begun, ended in _silences(tenure, life):
                if (ended - begun).total_seconds() > seconds:
                    yield f"I21: {tenure.deployment} did nothing from {begun} to {ended}"


def tenures(log: Sequence[Recorded]) -> Iterator[Tenure]:
    """Yield every deployment that ever held its target."""
    steps: dict[str, list[datetime]] = {}
    final: set[str] = set()
    for recorded in log:
        event, at = recorded.event, recorded.header.recorded_at
        if isinstance(event, Target.Held):
            steps[event.deployment] = [at]
        elif (name := recorded.header.deployment) in steps and name not in final:
            steps[name].append(at)
            if isinstance(event, Deployment.Ended):
                final.add(name)
    for name, instants in steps.items():
        yield Tenure(name, (*instants, *(() if name in final else (ENDLESS,))))


def not_undone(log: Sequence[Recorded]) -> Iterator[str]:
    """Yield each deployment that was to be undone and was not."""
    for recorded in log:
        event = recorded.event
        if isinstance(event, Deployment.RollbackFailed):
            yield f"{recorded.header.deployment} was not undone: {event.message}"


def long_outages(
    users: Users, begun: Sequence[datetime], lives: Sequence[Life], seconds: float
) -> Iterator[str]:
    """Yield each time that users got no answer for longer than this while a server lived."""
    for start, following in zip(begun, (*begun[1:], ENDLESS), strict=True):
        served = users.served_after(start)
        # Who is killed again before anything was served has another outage.
        end = min(served.ended if served else ENDLESS, following)
        overlaps = [min(end, life.dead) - max(start, life.ready) for life in lives]
        lived = sum(max(overlap.total_seconds(), 0.0) for overlap in overlaps)
        if lived > seconds:
            yield f"nobody was served for {lived:.1f} s after {start}"


def _silences(tenure: Tenure, life: Life) -> Iterator[tuple[datetime, datetime]]:
    for begun, ended in zip(tenure.steps, tenure.steps[1:], strict=False):
        within = max(begun, life.ready), min(ended, life.dead)
        if within[0] < within[1]:
            yield within
