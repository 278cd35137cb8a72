"""Restorer: what the log says is live runs, also after the agent or an instance has died.

A mere start finds everything as it should be and writes nothing. The names to look at may come
from a read model, for they are only a hint; what is done about one is decided on its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog

from ...domain.append import Lease
from ...domain.deployment import Deployment
from ...domain.deployment import stream_of as deployment_stream
from ...domain.errors import ConflictError, LedgerError, PlatformUnavailableError
from ...domain.event import CommandRef, Fence, sha256_hex
from ...domain.ports import Effect, EffectKey, Route
from ...domain.stages.start import places, revision_spec
from ...domain.target import Revision, Serving, Target
from ...domain.target import stream_of as target_stream
from ...domain.transaction import Transaction
from .owner import Workshop

LOOK_SECONDS = 1.0
EFFECT_SECONDS = 60.0
LONGEST_PAUSE = 60.0

_log = structlog.get_logger()


class Restorer:
    """Looks at every live target each second and brings back what is gone."""

    def __init__(self, token: int, workshop: Workshop, names: Callable[[], Iterable[str]]) -> None:
        self._token = token
        self._shop = workshop
        self._names = names
        self._pauses: dict[str, tuple[float, datetime]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for name in self._names():
                await self._look_guarded(name)
            await self._shop.outside.clock.sleep(LOOK_SECONDS)

    async def _look_guarded(self, name: str) -> None:
        if self._is_paused(name):
            return
        try:
            if await self.look(name):
                self._pause(name)
        except PlatformUnavailableError as error:
            _log.warning("platform_unavailable", target=name, detail=str(error))
        except LedgerError as error:
            self._pause(name)
            _log.warning("restore_failed", target=name, detail=str(error))

    async def look(self, name: str) -> bool:
        """Restore a target if what is live there is gone; say whether it was."""
        route = await self._shop.outside.platform.routed(name)
        target = await self._shop.streams.load(Target, target_stream(name))
        serving, live = target.serving, target.live
        if serving is None or live is None:
            return False
        if target.holder is not None and not await self._may_help_holder(target, route):
            return False
        instances = await self._shop.outside.platform.instances(name, live.id)
        missing = live.capacity - sum(instance.alive for instance in instances)
        if not missing and route is not None and route.weights == serving.weights:
            return False
        await self._restore(target, live, serving, missing)
        return True

    async def _may_help_holder(self, target: Target, route: Route | None) -> bool:
        # A holder changes the route itself; only one that the agent has lost is nobody's doing.
        if route is not None:
            return False
        holder = await self._shop.streams.load(Deployment, deployment_stream(target.holder or ""))
        return not holder.is_stopping and not holder.is_undoing

    async def _restore(
        self, target: Target, live: Revision, serving: Serving, missing: int
    ) -> None:
        platform = self._shop.outside.platform
        effect = self._effect(target, live)
        spec = revision_spec(live, self._shop.outside.secrets)
        instances = await platform.start(effect, spec)
        await platform.route(effect, Route(serving.listen, serving.weights))
        detail = (
            f"{missing} of {live.capacity} instances were gone" if missing else "its route was gone"
        )
        restored = Target.Restored(revision=live.id, detail=detail, instances=places(instances))
        _log.warning("target_restored", target=target.name, detail=detail)
        await self._record(target, restored)

    async def _record(self, target: Target, restored: Target.Restored) -> None:
        shop, name = self._shop, target.stream
        lease = Lease("", self._token, shop.actor)
        transaction = Transaction(now=shop.outside.clock.now(), actor=shop.actor, lease=lease)
        cause = f"{name}@{target.version}"
        digest = sha256_hex(f"restore\n{cause}\n0".encode())
        transaction.obey(CommandRef(digest, digest), cause=cause)
        transaction.fence = Fence(target.held_at, self._token)
        await shop.streams.into(transaction, name)
        transaction.record(name, restored)
        try:
            shop.streams.learn((await shop.log.append(transaction.append())).events)
        except ConflictError:
            _log.info("restored_while_changing", target=target.name)

    def _effect(self, target: Target, live: Revision) -> Effect:
        key = EffectKey(live.deployment, "restore", target.version)
        deadline = self._shop.outside.clock.now() + timedelta(seconds=EFFECT_SECONDS)
        return Effect(key, target.name, Fence(target.held_at, self._token), deadline)

    def _is_paused(self, name: str) -> bool:
        _, until = self._pauses.get(name, (0.0, None))
        return until is not None and self._shop.outside.clock.now() < until

    def _pause(self, name: str) -> None:
        # What dies again and again is brought back ever more slowly; after a quiet time at once.
        now = self._shop.outside.clock.now()
        before, until = self._pauses.get(name, (0.0, now))
        recent = now - until < timedelta(seconds=LONGEST_PAUSE)
        seconds = min(max(before * 2, LOOK_SECONDS), LONGEST_PAUSE) if recent else LOOK_SECONDS
        self._pauses[name] = (seconds, now + timedelta(seconds=seconds))
