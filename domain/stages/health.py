"""health: the checks asked of each new instance."""

from __future__ import annotations

import asyncio

import msgspec

from ..health import HealthPolicy
from .asking import Address, Report, ask
from .work import Outcome, Work, deaths, failed

WATCH_SECONDS = 0.1


class HealthSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="health"):
    """Which checks, how patiently, and how much health is enough."""

    policy: HealthPolicy


async def perform(spec: HealthSpec, work: Work) -> Outcome:
    """Ask each new instance; one that has ended is not waited for."""
    instances = await work.outside.platform.instances(work.target.name, work.new_revision or "")
    if ended := deaths(instances):
        return failed(ended)
    addresses = [Address(instance.host, instance.port) for instance in instances]
    asking = asyncio.ensure_future(ask(work, spec.policy, addresses))
    dying = asyncio.ensure_future(_first_death(work))
    try:
        await asyncio.wait((asking, dying), return_when=asyncio.FIRST_COMPLETED)
        return _judge(spec, asking, dying)
    finally:
        asking.cancel()
        dying.cancel()
        await asyncio.gather(asking, dying, return_exceptions=True)


def _judge(spec: HealthSpec, asking: asyncio.Future[Report], dying: asyncio.Future[str]) -> Outcome:
    return asking.result().judge(spec.policy) if asking.done() else failed(dying.result())


async def _first_death(work: Work) -> str:
    while True:
        found = await work.outside.platform.instances(work.target.name, work.new_revision or "")
        if ended := deaths(found):
            return ended
        await work.outside.clock.sleep(WATCH_SECONDS)
