"""monitor: the new revision under real traffic, ready to be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from ..health import HealthPolicy
from ..ports import Instance, Traffic
from .asking import Address, ask
from .work import Outcome, Work, deaths, failed, succeeded

WATCH_SECONDS = 0.1
ROUNDS = 2
"""Failed rounds of checks in a row that are a failure; a single one may be the network."""


class MonitorSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="monitor"):
    """How long it is watched, and what fails it at once."""

    seconds: float
    policy: HealthPolicy
    """Asked again and again of each instance."""
    max_error_share: int
    """Basis points of 5xx answers allowed, once there are `min_requests`."""
    min_requests: int


async def perform(spec: MonitorSpec, work: Work) -> Outcome:
    """Watch checks and traffic until the time is over; the first failure ends it."""
    watchers: list[asyncio.Future[str]] = [
        asyncio.ensure_future(_traffic(spec, work)),
        asyncio.ensure_future(_checks(spec, work)),
    ]
    everything: list[asyncio.Future[Any]] = [
        *watchers,
        asyncio.ensure_future(_time_over(spec, work)),
    ]
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        for watcher in watchers:
            if watcher.done():
                return failed(watcher.result())
        return await _last_look(spec, work)
    finally:
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _time_over(spec: MonitorSpec, work: Work) -> None:
    until = work.started_at + timedelta(seconds=spec.seconds)
    while (left := (until - work.outside.clock.now()).total_seconds()) > 0:
        await work.outside.clock.sleep(left)


async def _traffic(spec: MonitorSpec, work: Work) -> str:
    while True:
        complaint = _complaint(spec, await _counts(work)) or deaths(await _instances(work))
        if complaint:
            return complaint
        await work.outside.clock.sleep(WATCH_SECONDS)


async def _checks(spec: MonitorSpec, work: Work) -> str:
    while True:
        if complaint := await _round(spec, work):
            return complaint
        await _pause(spec, work)


async def _round(spec: MonitorSpec, work: Work) -> str | None:
    """Ask until all is well or was not for so many times; say in that case what is wrong."""
    once = msgspec.structs.replace(spec.policy, attempts=1)
    complaint = None
    for n in range(ROUNDS):
        if n:
            await _pause(spec, work)
        addresses = [Address(i.host, i.port) for i in await _instances(work)]
        verdict = (await ask(work, once, addresses)).judge(once)
        if verdict.status == "succeeded":
            return None
        complaint = verdict.message or "unhealthy"
    return complaint


async def _pause(spec: MonitorSpec, work: Work) -> None:
    await work.outside.clock.sleep(min(spec.policy.interval, 1.0))


async def _last_look(spec: MonitorSpec, work: Work) -> Outcome:
    # After a takeover the time may be over before anything was looked at.
    counts = await _counts(work)
    complaint = _complaint(spec, counts) or deaths(await _instances(work))
    if complaint is None and spec.seconds:
        complaint = await _round(spec, work)
    if complaint:
        return failed(complaint)
    requests = counts.requests if counts else 0
    failures = counts.failures if counts else 0
    return succeeded(message=f"{requests} requests, {failures} failed")


async def _counts(work: Work) -> Traffic | None:
    return (await work.outside.platform.traffic(work.target.name)).get(work.new_revision or "")


async def _instances(work: Work) -> Sequence[Instance]:
    return await work.outside.platform.instances(work.target.name, work.new_revision or "")


def _complaint(spec: MonitorSpec, counts: Traffic | None) -> str | None:
    if counts is None or counts.requests < spec.min_requests:
        return None
    if counts.failures * 10_000 <= spec.max_error_share * counts.requests:
        return None
    share, limit = counts.failures / counts.requests, spec.max_error_share / 10_000
    return f"{counts.failures} of {counts.requests} requests failed: {share:.1%}, limit {limit:.1%}"
