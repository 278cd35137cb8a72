"""Owner: carries one deployment to its end; its lease is its right to do so.

It records what the process manager wants, performs the stages that the log says are running, and
records how they ended. It has its states in memory: what others write reaches them as the worker
follows the log, and what has not yet is found out at the append, which compares versions. Nothing
rests on memory alone: an owner asks the log before it waits or goes on with what another has begun,
and what nobody has begun yet is not begun before an append has compared all that it rests on. All
that is in memory can be lost at any moment: the next owner observes before it acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ...domain.commands import FinishStage
from ...domain.deployment import Deployment, StageStatus
from ...domain.environment import Environment
from ...domain.environment import stream_of as environment_stream
from ...domain.errors import BusyError, ConflictError, OutcomeUnknownError
from ...domain.event import Fence, Recorded
from ...domain.plan import PlannedStage
from ...domain.ports import Effect, EffectKey, Log
from ...domain.processes.settling import current, finish, settle
from ...domain.stages import MonitorSpec, Outside, RestoreSpec, SwitchSpec, Work
from ...domain.streams import Streams
from ...domain.target import Target
from ...domain.target import stream_of as target_stream
from ...domain.transaction import Transaction
from .attempt import Attempt
from .doubt import Doubts
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


class Standing(NamedTuple):
    """What an owner decides on and acts by, as it is after what it has decided."""

    deployment: Deployment
    target: Target
    where: Environment


class Owner:
    """One deployment under one lease."""

    def __init__(self, tenure: Tenure, workshop: Workshop, keeper: Keeper) -> None:
        self.tenure = tenure
        self._lease = tenure.lease
        self._platform = GuardedPlatform(workshop.outside.platform, tenure)
        self._outside = replace(workshop.outside, platform=self._platform)
        self._clock = workshop.outside.clock
        self._doubts = Doubts(workshop.log, tenure.lease, self._platform)
        self._shop = workshop
        self._keeper = keeper
        self._wake = asyncio.Event()
        self._tries: dict[tuple[str, int], Attempt] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._is_behind = False
        """Whether the log has to be asked before anything else is done."""
        self._is_certain = False
        """Whether the log has been asked under this lease, or has taken what was decided."""
        self._decided_on: dict[str, int] = {}
        """The versions of the streams when they were last looked at."""
        self._look_at: datetime | None = None
        """When to look again if nothing happens."""
        self._keep_at = self._clock.now()
        """When to look again whether what is live runs."""

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
                    await self._conclude()
                    await self._platform.quiet()
                    if self._keeping:
                        await asyncio.wait([self._keeping])
                    return False
                standing = await self._settled()
                if standing is None:
                    continue
                if standing.deployment.is_final:
                    self._shop.on_end(*standing)
                    return True
                if not self._is_leaving:
                    self._act(standing)
                    await self._wait(standing)
        finally:
            await self._drop_all()

    async def _drop_all(self) -> None:
        left: list[asyncio.Task[Any]] = [attempt.drop() for attempt in self._tries.values()]
        if self._keeping:
            self._keeping.cancel()
            left.append(self._keeping)
        await asyncio.gather(*left, return_exceptions=True)

    async def _conclude(self) -> None:
        """See what is under way to its end where nobody after us could know what came of it."""
        while self._doubts.are_possible:
            self._wake.clear()
            standing = await self._settled()
            if standing is None:
                continue
            self._begin_tries(standing)
            self._stop_tries(standing.deployment)
            if not self._tries:
                return
            await self._wake.wait()

    async def _settled(self) -> Standing | None:
        """Decide and store; return how all stands then, or None where it has to be looked again."""
        transaction = await self._look()
        standing = self._standing(transaction)
        if standing.deployment.is_final:
            return standing
        if self._doubts.are_possible:
            await self._doubts.look(standing.deployment)
        self._decide(transaction, standing)
        if transaction.is_empty and not self._is_certain:
            # Nothing is compared then, and waiting would rest on nothing.
            self._is_behind = True
            return None
        if not transaction.is_empty and not await self._is_stored(transaction):
            return None
        return self._standing(transaction)

    async def _look(self) -> Transaction:
        """Return a transaction that rests on what was last seen or, if need be, on the log."""
        streams, own = self._shop.streams, self._lease.stream
        transaction = Transaction(now=self._clock.now(), actor=self._shop.actor, lease=self._lease)
        await streams.at_hand(transaction, own)
        deployment = transaction.state(Deployment, own)
        plan = deployment.recorded_plan
        others = target_stream(plan.target), environment_stream(plan.environment)
        # What nobody has begun is not begun either before the log has taken it.
        if self._is_behind or (deployment.started_at and not self._is_certain):
            await streams.into(transaction, own, *others)
            self._is_behind, self._is_certain = False, True
        else:
            await streams.at_hand(transaction, *others)
        self._decided_on = transaction.versions
        return transaction

    def _standing(self, transaction: Transaction) -> Standing:
        deployment = transaction.state(Deployment, self._lease.stream)
        plan = deployment.recorded_plan
        return Standing(
            deployment,
            transaction.state(Target, target_stream(plan.target)),
            transaction.state(Environment, environment_stream(plan.environment)),
        )

    def _decide(self, transaction: Transaction, standing: Standing) -> None:
        deployment, target, _ = standing
        if target.holder == deployment.id:
            transaction.fence = Fence(target.held_at, self._lease.token)
        for outcome in self._outcomes(deployment):
            finish(transaction, deployment, outcome)
        if not (self._is_leaving and self._doubts.are_possible):
            self._look_at = settle(transaction, *current(transaction, deployment.id))

    def _outcomes(self, deployment: Deployment) -> list[FinishStage]:
        return [
            outcome
            for attempt in self._tries.values()
            if (outcome := attempt.outcome)
            and deployment.has_status(outcome.stage, StageStatus.RUNNING)
            and deployment.attempts[outcome.stage].number == outcome.attempt
        ]

    async def _is_stored(self, transaction: Transaction) -> bool:
        """Store what was decided; where it may have been decided on too little, say so."""
        self.tenure.require()
        self._is_behind = True
        rests_on = {} if self._is_certain else self._decided_on
        try:
            appended = await self._shop.log.append(transaction.append(rests_on))
        except ConflictError:
            return False
        except (BusyError, OutcomeUnknownError):
            # The command ids settle it: what was stored after all is answered as known.
            await self._clock.sleep(RETRY_SECONDS)
            return False
        self._shop.streams.stored(appended.events)
        if appended.known:
            return False
        self._is_behind, self._is_certain = False, True
        self._decided_on = transaction.versions
        return True

    def _act(self, standing: Standing) -> None:
        """Start and cancel tries as the log says."""
        self._begin_tries(standing)
        self._stop_tries(standing.deployment)
        self._keep(standing)

    def _begin_tries(self, standing: Standing) -> None:
        attempts = standing.deployment.attempts
        running = {(s.name, attempts[s.name].number): s for s in standing.deployment.running}
        for key in [key for key in self._tries if key not in running]:
            del self._tries[key]
        for key, stage in running.items():
            if key not in self._tries and not (self._is_keeping and _is_routing(stage)):
                self._tries[key] = Attempt(self._work(standing, stage), self._wake.set)

    def _stop_tries(self, deployment: Deployment) -> None:
        if not deployment.is_stopping:
            return
        forward = {stage.name for stage in deployment.recorded_plan.stages}
        for (stage, _), attempt in self._tries.items():
            if stage in forward:
                attempt.stop()

    def _keep(self, standing: Standing) -> None:
        """See to it that what is live runs, while no try decides where requests go."""
        deployment, target, _ = standing
        if self._is_keeping or not _is_served(standing):
            return
        if any(isinstance(s.spec, (*_ROUTING, MonitorSpec)) for s in deployment.running):
            return
        now = self._clock.now()
        if now >= self._keep_at:
            self._keep_at = now + timedelta(seconds=LOOK_SECONDS)
            look = self._keeper.keep(target.name, self.tenure, deployment.id)
            self._keeping = asyncio.create_task(look)
            self._keeping.add_done_callback(lambda _: self._wake.set())

    @property
    def _is_keeping(self) -> bool:
        return self._keeping is not None and not self._keeping.done()

    def _work(self, standing: Standing, stage: PlannedStage) -> Work:
        deployment, target, where = standing
        number = deployment.attempts[stage.name].number
        effect = Effect(
            key=EffectKey(deployment.id, stage.name, number),
            target=target.name,
            fence=Fence(target.held_at, self._lease.token),
            deadline=deployment.deadline(stage),
        )
        is_inherited = self._doubts.is_inherited(stage.name, number)
        return Work(deployment, target, stage, effect, where.document, self._outside, is_inherited)

    async def _wait(self, standing: Standing) -> None:
        if self._wake.is_set():
            return
        now = self._clock.now()
        at = self._look_at or now
        if _is_served(standing):
            at = min(at, self._keep_at)
        seconds = max((at - now).total_seconds(), RETRY_SECONDS)
        alarm = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()


def _is_served(standing: Standing) -> bool:
    """Say whether the deployment holds a target at which something is live."""
    return standing.target.live is not None and standing.target.holder == standing.deployment.id


def _is_routing(stage: PlannedStage) -> bool:
    return isinstance(stage.spec, _ROUTING)
