"""Doubt: tries of which nobody can know what they did, at a platform that promises nothing.

Everywhere else a try that was begun before is observed, and then asked for again under its own
effect key. Where the platform's fence class is none that would do it twice, so a try is sent once:
what came of one that another owner has begun, or that was not answered, is for a person to decide.
"""

from __future__ import annotations

from ...domain.append import Lease
from ...domain.deployment import Deployment
from ...domain.errors import PlatformUnavailableError
from ...domain.event import Fence
from ...domain.ports import FenceClass, Log, Platform
from ...domain.stages import PERFORM, Outcome, RunSpec, Work, changes_the_world
from ...domain.stages.work import errored, failed, unknown

INHERITED = "Another worker has begun it, and the platform cannot say what came of it."

Try = tuple[str, int]
"""A stage's name and the number of its try."""


class Doubts:
    """Which tries of one deployment somebody else has begun."""

    def __init__(self, log: Log, lease: Lease, platform: Platform) -> None:
        self._log = log
        self._lease = lease
        self._platform = platform
        self._found_at: int | None = None
        """The deployment's version when its owner first saw it."""
        self._own: dict[Try, bool] = {}

    @property
    def are_possible(self) -> bool:
        """Whether the platform makes it matter who has begun a try."""
        return self._platform.fence_class is FenceClass.NONE

    async def look(self, deployment: Deployment) -> None:
        """Find out who has begun what is running, before anything is decided on it.

        Errors: those of `Log.stream`.
        """
        if self._found_at is None:
            self._found_at = deployment.version
        for stage in deployment.running:
            attempt = deployment.attempts[stage.name]
            key = (stage.name, attempt.number)
            if key not in self._own:
                self._own[key] = await self._is_own(attempt.started_version)

    def is_inherited(self, stage: str, number: int) -> bool:
        """Say whether a try was begun by an owner before."""
        return not self._own.get((stage, number), True)

    async def _is_own(self, version: int) -> bool:
        # Within one process two owners may have one token, the second of which found it there.
        if self._found_at is None or version <= self._found_at:
            return False
        intent = (await self._log.stream(self._lease.stream, after=version - 1))[0]
        fence = intent.header.fence
        return fence is not None and Fence.parse(fence).token == self._lease.token


async def perform(work: Work) -> Outcome:
    """Carry out a try; at a platform that promises nothing, send it at most once."""
    act = PERFORM[type(work.stage.spec)]
    if not _is_sent_once(work):
        return await act(work.stage.spec, work)
    if work.is_inherited:
        return _lost(work, INHERITED)
    try:
        return await act(work.stage.spec, work)
    except PlatformUnavailableError as error:
        return _lost(work, f"{error} It may have been done all the same.")


def late(work: Work) -> Outcome:
    """Return what a try means that has not come to its end in time."""
    sentence = f"It did not end within {work.stage.timeout:g} s."
    return _lost(work, sentence) if _is_sent_once(work) else failed(sentence)


def _is_sent_once(work: Work) -> bool:
    if not changes_the_world(work.stage.spec):
        return False
    return work.outside.platform.fence_class is FenceClass.NONE


def _lost(work: Work, sentence: str) -> Outcome:
    spec = work.stage.spec
    if isinstance(spec, RunSpec) and spec.idempotent:
        return errored(sentence, lost=True)
    return unknown(sentence)
