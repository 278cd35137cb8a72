"""Keeper: what the log says is live runs, also after the agent or an instance has died.

A look that finds everything as it should be writes nothing. Who looks must have the right to
change the target: its holder's owner while it is held, else whoever holds the target's own lease.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import structlog

from ...domain.append import Due, Lease
from ...domain.errors import (
    ConflictError,
    LedgerError,
    OutcomeUnknownError,
    PlatformUnavailableError,
)
from ...domain.event import CommandRef, Fence, sha256_hex
from ...domain.ports import Effect, EffectKey, FenceClass, Instance, Log, Platform, Route
from ...domain.stages import Outside
from ...domain.stages.start import places, revision_spec
from ...domain.streams import Streams
from ...domain.target import Revision, Serving, Target
from ...domain.target import stream_of as target_stream
from ...domain.transaction import Transaction
from .guard import GuardedPlatform
from .leases import Leases, Tenure

if TYPE_CHECKING:
    from .owner import Workshop

LOOK_SECONDS = 1.0
EFFECT_SECONDS = 60.0
DRAIN_SECONDS = 10.0
LISTENING_SECONDS = 10.0
LONGEST_PAUSE = 60.0
AGAIN_SECONDS = 0.05

_log = structlog.get_logger()


class Death(NamedTuple):
    """What was live at a target and is gone."""

    target: Target
    live: Revision
    serving: Serving
    gone: str
    is_its_own: bool
    """Whether it went by itself, and not with its agent."""
    others_serve: bool
    """Whether users are answered meanwhile, by what the log does not know."""


class Keeper:
    """Looks at a target and brings back what is gone."""

    def __init__(self, workshop: Workshop) -> None:
        self._log: Log = workshop.log
        self._streams: Streams = workshop.streams
        self._outside: Outside = workshop.outside
        self._actor = workshop.actor
        self._pauses: dict[str, tuple[float, datetime]] = {}
        self._tries: Counter[str] = Counter()

    async def keep(self, name: str, tenure: Tenure, holder: str) -> None:
        """Restore a target if what is live there is gone, as long as `holder` holds it."""
        async with self._trying(name) as is_tried:
            if is_tried and (death := await self._look(name, holder)):
                await self._restore(death, tenure)

    async def keep_free(self, name: str, leases: Leases) -> None:
        """Restore a target that nobody holds if what is live there is gone.

        What is done is done under a lease of its own, whose token is above that of every owner of
        the deployments before; whoever gets none leaves it to who has it.
        """
        async with self._trying(name) as is_tried:
            if not is_tried or not await self._look(name, None):
                return
            tenure = await leases.hold(target_stream(name))
            if tenure is None:
                return
            try:
                # Another may have seen to it between the look and the lease.
                if death := await self._look(name, None):
                    await self._restore(death, tenure)
            finally:
                await leases.give_back_patiently(tenure, Due(tenure.lease.stream, None))

    @asynccontextmanager
    async def _trying(self, name: str) -> AsyncGenerator[bool]:
        """Say whether a target's turn has come; a failure pauses it and takes no other down."""
        if self._is_paused(name):
            yield False
            return
        try:
            yield True
        except PlatformUnavailableError as error:
            _log.warning("platform_unavailable", target=name, detail=str(error))
        except LedgerError as error:
            self._pause(name)
            _log.warning("restore_failed", target=name, detail=str(error))
        except Exception:  # noqa: BLE001 - one target must not take the others down
            self._pause(name)
            _log.exception("restore_failed", target=name)

    async def _look(self, name: str, holder: str | None) -> Death | None:
        """Return what is gone, or None where all is well or somebody else holds the target."""
        if self._outside.platform.fence_class is FenceClass.NONE:
            return None  # nothing that could be relied on is to be seen, nor done a second time
        target = await self._streams.load(Target, target_stream(name))
        serving, live = target.serving, target.live
        if target.holder != holder or serving is None or live is None:
            return None
        route = await self._outside.platform.routed(name)
        instances = await self._outside.platform.instances(name, live.id)
        missing = live.capacity - sum(instance.alive for instance in instances)
        if missing:
            gone = f"{missing} of {live.capacity} instances were gone"
        elif route is None or route.weights != serving.weights:
            gone = "its route was gone"
        elif places(instances) != target.places.get(live.id):
            gone = "it was brought back, and that was not recorded"
        else:
            return None
        others_serve = route is not None and bool(route.weights.keys() - serving.weights.keys())
        return Death(target, live, serving, gone, missing > 0 and bool(instances), others_serve)

    async def _restore(self, death: Death, tenure: Tenure) -> None:
        target, live, serving = death.target, death.live, death.serving
        platform = GuardedPlatform(self._outside.platform, tenure)
        effect = self._effect(target, live, tenure.lease)
        instances = await platform.start(effect, revision_spec(live, self._outside.secrets))
        if death.others_serve:
            await self._until_they_listen(instances)
        await platform.route(effect, Route(serving.listen, serving.weights))
        if any(instance.alive for instance in instances):
            restored = Target.Restored(
                revision=live.id, detail=death.gone, instances=places(instances)
            )
            _log.warning("target_restored", target=target.name, detail=death.gone)
            await self._record(target, restored, tenure.lease)
            await _end_strays(target, platform, effect)
        else:
            why = instances[0].detail if instances else None
            _log.warning("restore_failed", target=target.name, detail=why or "all ended at once")
        if death.is_its_own:
            self._pause(target.name)

    async def _until_they_listen(self, instances: Sequence[Instance]) -> None:
        """Wait until users can be answered by others than before, but not for long."""
        clock, probe = self._outside.clock, self._outside.probe
        end = clock.now() + timedelta(seconds=LISTENING_SECONDS)
        left = [one for one in instances if one.alive]
        while left and clock.now() < end:
            asked = [await probe.tcp(one.host, one.port, LOOK_SECONDS) for one in left]
            left = [one for one, answer in zip(left, asked, strict=True) if not answer.passed]
            if left:
                await clock.sleep(AGAIN_SECONDS)

    def _effect(self, target: Target, live: Revision, lease: Lease) -> Effect:
        # Each time another key: what has ended under one is not started under it again.
        self._tries[target.name] += 1
        stage = f"restore-{target.version}-{lease.token}"
        key = EffectKey(live.deployment, stage, self._tries[target.name])
        deadline = self._outside.clock.now() + timedelta(seconds=EFFECT_SECONDS)
        return Effect(key, target.name, Fence(target.held_at, lease.token), deadline)

    async def _record(self, before: Target, restored: Target.Restored, lease: Lease) -> None:
        """Write what was done, unless somebody else has changed what is live since."""
        while True:
            target = await self._streams.load(Target, before.stream)
            if target.held_at != before.held_at or target.live != before.live:
                _log.info("restored_while_changing", target=target.name)
                return
            try:
                await self._append(before, restored, lease)
            except (ConflictError, OutcomeUnknownError):
                await self._outside.clock.sleep(AGAIN_SECONDS)
            else:
                return

    async def _append(self, before: Target, restored: Target.Restored, lease: Lease) -> None:
        transaction = Transaction(now=self._outside.clock.now(), actor=self._actor, lease=lease)
        cause = f"{before.stream}@{before.version}"
        digest = sha256_hex(f"restore\n{cause}\n0".encode())
        transaction.obey(CommandRef(digest, digest), cause=cause)
        transaction.fence = Fence(before.held_at, lease.token)
        await self._streams.into(transaction, before.stream)
        transaction.record(before.stream, restored)
        self._streams.stored((await self._log.append(transaction.append())).events)

    def _is_paused(self, name: str) -> bool:
        _, until = self._pauses.get(name, (0.0, None))
        return until is not None and self._outside.clock.now() < until

    def _pause(self, name: str) -> None:
        # What dies again and again comes back ever more slowly; after a quiet time at once.
        now = self._outside.clock.now()
        before, until = self._pauses.get(name, (0.0, now))
        recent = now - until < timedelta(seconds=LONGEST_PAUSE)
        seconds = min(max(before * 2, LOOK_SECONDS), LONGEST_PAUSE) if recent else LOOK_SECONDS
        self._pauses[name] = (seconds, now + timedelta(seconds=seconds))


async def _end_strays(target: Target, platform: Platform, effect: Effect) -> None:
    """End what runs at a target and is not of its log.

    There is such a thing only once an operator has taken a log that went back.
    """
    own = {*target.running, *target.revisions}
    for revision in await platform.traffic(target.name):
        if revision in own or (target.holder and revision.startswith(f"{target.holder}.")):
            continue
        _log.warning("stray_ended", target=target.name, revision=revision)
        # It goes on by itself, and no other target waits for its last requests.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await platform.retire(effect, revision, DRAIN_SECONDS)
