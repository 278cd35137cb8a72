"""Owner: carries one deployment to its end; its lease is its right to do so.

It begins with what the log says, records what the process manager wants, performs the stages that
the log says are running, and records how they ended. In between it has its states in memory: what
others write reaches them as the worker follows the log, and what has not yet is found out at the
append, which compares versions. All that can be lost at any moment: the next owner starts from the
log and observes before it acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ...domain.commands import FinishStage
from ...domain.deployment import Deployment
from ...domain.environment import Environment
from ...domain.environment import stream_of as environment_stream
from ...domain.errors import ConflictError, OutcomeUnknownError
from ...domain.event import Fence, Recorded
from ...domain.plan import PlannedStage
from ...domain.ports import Effect, EffectKey, Log
from ...domain.processes.rollout import next_look
from ...domain.processes.settling import current, finish, settle
from ...domain.stages import MonitorSpec, Outside, RestoreSpec, SwitchSpec, Work
from ...domain.streams import Streams
from ...domain.target import Target
from ...domain.target import stream_of as target_stream
from ...domain.transaction import Transaction
from .attempt import Attempt
from .guard import GuardedPlatform
from .keeper import LOOK_SECONDS, Keeper
from .leases import Tenure

RETRY_SECONDS = 0.2
_ROUTING = (SwitchSpec, RestoreSpec)
"""Kinds that change where requests go."""


@dataclass(frozen=True)
class Workshop:
    """What every owner of a process shares."""

    log: Log
    streams: Streams
    outside: Outside
    actor: str
    """Subject id of the system itself."""
    on_end: Callable[[Deployment, Target, Environment], None]


class Owner:
    """One deployment under one lease."""

    def __init__(self, tenure: Tenure, workshop: Workshop, keeper: Keeper) -> None:
        self.tenure = tenure
        self._lease = tenure.lease
        self._platform = GuardedPlatform(workshop.outside.platform, tenure)
        self._shop = workshop
        self._keeper = keeper
        self._wake = asyncio.Event()
        self._tries: dict[tuple[str, int], Attempt] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._is_behind = True
        """Whether the log has to be asked before anything else is done."""
        self._decided_on: dict[str, int] = {}
        """The versions of the streams when they were last looked at."""
        self._next_look: datetime = workshop.outside.clock.now()

    def hear(self, recorded: Recorded) -> None:
        """Look again where an event is newer than what was decided on."""
        header = recorded.header
        if header.stream_version > self._decided_on.get(header.stream, 0):
            self._wake.set()

    def leave(self) -> None:
        """Begin nothing more, and stop where the next owner finds nothing under way."""
        self._is_leaving = True
        self._wake.set()

    async def run(self) -> bool:
        """Carry the deployment on; say whether it has come to its end, or is left to another.

        Errors: FencedError if somebody has taken over.
        """
        try:
            while True:
                self._wake.clear()
                if self._is_leaving:
                    await self._platform.quiet()
                    if self._keeping:
                        await asyncio.wait([self._keeping])
                    return False
                deployment, target, where = await self._look()
                if not deployment.is_final:
                    transaction = await self._decide(deployment, target, where)
                    if not transaction.is_empty and not await self._is_stored(transaction):
                        continue
                    deployment, target = current(transaction, deployment.id)
                if deployment.is_final:
                    self._shop.on_end(deployment, target, where)
                    return True
                if not self._is_leaving:
                    self._act(deployment, target, where)
                    await self._wait(deployment, target)
        finally:
            await self._drop_all()

    async def _drop_all(self) -> None:
        left: list[asyncio.Task[Any]] = [attempt.drop() for attempt in self._tries.values()]
        if self._keeping:
            self._keeping.cancel()
            left.append(self._keeping)
        await asyncio.gather(*left, return_exceptions=True)

    async def _look(self) -> tuple[Deployment, Target, Environment]:
        streams = self._shop.streams
        if self._is_behind:
            self._is_behind = False
            await self._catch_up()
        deployment = await streams.seen(Deployment, self._lease.stream)
        plan = deployment.recorded_plan
        target = await streams.seen(Target, target_stream(plan.target))
        where = await streams.seen(Environment, environment_stream(plan.environment))
        self._decided_on = {one.stream: one.version for one in (deployment, target, where)}
        return deployment, target, where

    async def _catch_up(self) -> None:
        streams = self._shop.streams
        plan = (await streams.existing(Deployment, self._lease.stream)).recorded_plan
        await asyncio.gather(
            streams.load(Target, target_stream(plan.target)),
            streams.load(Environment, environment_stream(plan.environment)),
        )

    def _act(self, deployment: Deployment, target: Target, where: Environment) -> None:
        """Start and cancel tries as the log says."""
        self._begin_tries(deployment, target, where)
        self._stop_tries(deployment)
        self._keep(deployment, target)

    async def _decide(
        self, deployment: Deployment, target: Target, where: Environment
    ) -> Transaction:
        shop = self._shop
        now = shop.outside.clock.now()
        transaction = Transaction(now=now, actor=shop.actor, lease=self._lease)
        await shop.streams.at_hand(transaction, deployment.stream, target.stream, where.stream)
        deployment, target = current(transaction, deployment.id)
        if target.holder == deployment.id:
            transaction.fence = Fence(target.held_at, self._lease.token)
        for outcome in self._outcomes(deployment):
            finish(transaction, deployment, outcome)
        settle(transaction, *current(transaction, deployment.id))
        return transaction

    def _outcomes(self, deployment: Deployment) -> list[FinishStage]:
        running = {stage.name for stage in deployment.running}
        ended = [o for attempt in self._tries.values() if (o := attempt.outcome)]
        return [
            outcome
            for outcome in ended
            if outcome.stage in running
            and deployment.attempts[outcome.stage].number == outcome.attempt
        ]

    async def _is_stored(self, transaction: Transaction) -> bool:
        """Store what was decided; where it may have been decided on too little, say so."""
        self.tenure.require()
        self._is_behind = True
        try:
            appended = await self._shop.log.append(transaction.append())
        except ConflictError:
            return False
        except OutcomeUnknownError:
            # The command ids settle it: what was stored after all is answered as known.
            await self._shop.outside.clock.sleep(RETRY_SECONDS)
            return False
        self._shop.streams.learn(appended.events)
        if appended.known:
            return False
        self._is_behind = False
        self._decided_on = {one.stream: one.version for one in transaction.states.values()}
        return True

    def _begin_tries(self, deployment: Deployment, target: Target, where: Environment) -> None:
        running = {(s.name, deployment.attempts[s.name].number): s for s in deployment.running}
        for key in [key for key in self._tries if key not in running]:
            del self._tries[key]
        for key, stage in running.items():
            if key not in self._tries and not (self._is_keeping and _is_routing(stage)):
                work = self._work(deployment, target, where, stage)
                self._tries[key] = Attempt(work, self._wake.set)

    def _stop_tries(self, deployment: Deployment) -> None:
        forward = {stage.name for stage in deployment.recorded_plan.stages}
        for (stage, _), attempt in self._tries.items():
            if deployment.is_stopping and stage in forward:
                attempt.stop()

    def _keep(self, deployment: Deployment, target: Target) -> None:
        """See to it that what is live runs, while no try decides where requests go."""
        is_deciding = any(isinstance(s.spec, (*_ROUTING, MonitorSpec)) for s in deployment.running)
        now = self._shop.outside.clock.now()
        if is_deciding or self._is_keeping or not target.live or target.holder != deployment.id:
            return
        if now >= self._next_look:
            self._next_look = now + timedelta(seconds=LOOK_SECONDS)
            look = self._keeper.keep(target.name, self.tenure, deployment.id)
            self._keeping = asyncio.create_task(look)
            self._keeping.add_done_callback(lambda _: self._wake.set())

    @property
    def _is_keeping(self) -> bool:
        return self._keeping is not None and not self._keeping.done()

    def _work(
        self, deployment: Deployment, target: Target, where: Environment, stage: PlannedStage
    ) -> Work:
        number = deployment.attempts[stage.name].number
        effect = Effect(
            key=EffectKey(deployment.id, stage.name, number),
            target=target.name,
            fence=Fence(target.held_at, self._lease.token),
            deadline=deployment.deadline(stage),
        )
        outside = replace(self._shop.outside, platform=self._platform)
        return Work(deployment, target, stage, effect, where.document, outside)

    async def _wait(self, deployment: Deployment, target: Target) -> None:
        if self._wake.is_set():
            return
        clock = self._shop.outside.clock
        looks = [next_look(deployment, target)]
        if target.live and target.holder == deployment.id:
            looks.append(self._next_look)
        at = min((look for look in looks if look), default=clock.now())
        seconds = max((at - clock.now()).total_seconds(), RETRY_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


def _is_routing(stage: PlannedStage) -> bool:
    return isinstance(stage.spec, _ROUTING)
