"""Evidence: a log as kills have left it, held to the invariants and to the world.

A data folder is copied while nobody writes to it, and examined while the server starts again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shipslog.adapters.store.rows import Row
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.deployment import Deployment
from shipslog.domain.event import Fence, Recorded, sha256_hex
from shipslog.domain.stages import RunSpec
from shipslog.domain.target import Target
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import SqliteViews
from shipslog.projections.replay import check
from tests.invariants import violations

from .documents import JOURNALS
from .operators import Acknowledged, Answer, Wish

FILES = ("ledger.db", "ledger.db-wal", "views.db", "views.db-wal")


class Effect(NamedTuple):
    """A line of a journal: who was started, under which fence."""

    key: str
    fence: Fence

    @property
    def deployment(self) -> str:
        return self.key.partition("/")[0]

    @property
    def stage(self) -> str:
        return self.key.split("/")[1]


class Evidence:
    """A log, and what those whom it started have told their journals, by the journals' names."""

    def __init__(self, log: Sequence[Recorded], journals: Mapping[str, Path]) -> None:
        self.log = log
        self._journals = {name: _lines(path) for name, path in journals.items()}

    @property
    def started(self) -> int:
        """How many commands of stages were."""
        return len(self._journals["stages"])

    def faults(self) -> list[str]:
        """Return everything that does not hold."""
        return [
            *violations(self.log),
            *self._doubled(),
            *self._not_intended(),
            *self._not_done(),
            *self._fences_fall(),
        ]

    def lost(self, answered: Sequence[Acknowledged]) -> Iterator[str]:
        """Yield each acknowledged wish that is not in the log just where it was said to be (I1)."""
        for wish, answer in answered:
            event = self.log[answer.position - 1] if answer.position <= len(self.log) else None
            if event is None:
                yield f"I1: {wish} was acknowledged at {answer.position} and is not there"
            elif not _is_of(event, wish) and not self._was_wanted(wish, answer):
                yield f"I1: at {answer.position} is {event.header.topic} and not {wish}"

    def _was_wanted(self, wish: Wish, answer: Answer) -> bool:
        """Say whether a wish had nothing to change, because somebody had had it before."""
        topic = f"deployment.{wish.path.rpartition('/')[2]}_requested"
        return any(
            (event.header.topic, event.header.deployment) == (topic, answer.deployment)
            for event in self.log[: answer.position]
        )

    def _doubled(self) -> Iterator[str]:
        """I14: an effect key starts a command once."""
        for key, count in Counter(effect.key for effect in self._journals["stages"]).items():
            if count > 1:
                yield f"I14: {key} was started {count} times"

    def _not_intended(self) -> Iterator[str]:
        """I13: whatever runs was meant to, by whom its fence says."""
        intents = set(_intents(self.log))
        held = {e.position: e.event for e in self.log if isinstance(e.event, Target.Held)}
        for effect in self._journals["stages"]:
            if effect.key not in intents:
                yield f"I13: {effect.key} was started and is not in the log"
            holder = held.get(effect.fence.position)
            if holder is None or holder.deployment != effect.deployment:
                yield f"I12: {effect.key} was started under fence {effect.fence}, of {holder}"

    def _not_done(self) -> Iterator[str]:
        """What the log says has succeeded has happened."""
        done = {effect.key for effect in self._journals["stages"]}
        runs: dict[str, set[str]] = {}
        for recorded in self.log:
            event, deployment = recorded.event, recorded.header.deployment or ""
            if isinstance(event, Deployment.Requested):
                stages = event.plan.stages
                runs[deployment] = {s.name for s in stages if isinstance(s.spec, RunSpec)}
            if not isinstance(event, Deployment.StageFinished) or event.outcome != "succeeded":
                continue
            key = f"{deployment}/{event.stage}/{event.attempt}"
            if event.stage in runs[deployment] and key not in done:
                yield f"I14: {key} succeeded and was never started"

    def _fences_fall(self) -> Iterator[str]:
        """I10, I12: along a target the fences of what was started never go down."""
        targets = {
            e.header.deployment: f"{e.header.environment}/{e.header.service}"
            for e in self.log
            if isinstance(e.event, Deployment.Requested)
        }
        for effects in self._journals.values():
            highest: dict[str, Fence] = {}
            for effect in effects:
                target = targets.get(effect.deployment, "?")
                if effect.fence < highest.get(target, effect.fence):
                    yield f"I12: {effect.key} has fence {effect.fence} after {highest[target]}"
                highest[target] = max(effect.fence, highest.get(target, effect.fence))


class DataFolder(Evidence):
    """What one moment has left behind in the folder of an embedded store."""

    def __init__(self, folder: Path, data: Path, name: str) -> None:
        self.name = name
        self._data = folder / name
        self._data.mkdir()
        for file in FILES:
            if (data / file).exists():
                shutil.copy(data / file, self._data)
        journals = {name: folder / name for name in JOURNALS}
        archive = SqliteStore.read_only(self._data)
        try:
            self.rows: list[Row] = list(archive.log.rows())
            self.damage = [str(finding) for finding in archive.log.verify()]
            super().__init__(list(archive.log.scan()), journals)
        finally:
            archive.close()

    def faults_since(self, before: Sequence[Row]) -> list[str]:
        """Return everything that does not hold, given the rows of an earlier moment."""
        return [*self.damage, *self.faults(), *self._changed(before), *self._views_differ()]

    def _changed(self, before: Sequence[Row]) -> Iterator[str]:
        for old, new in zip(before, self.rows, strict=False):
            if old != new:
                yield f"I6: position {old.position} has changed"
        if len(self.rows) < len(before):
            yield f"I6: positions above {len(self.rows)} are gone"

    def _views_differ(self) -> Iterator[str]:
        views = SqliteViews(self._data / "views.db", READ_MODELS)
        try:
            views.open()
            for difference in check(self.log, views):
                yield f"I34: {difference}"
        finally:
            views.close()


def _intents(log: Sequence[Recorded]) -> Iterator[str]:
    for recorded in log:
        event = recorded.event
        if isinstance(event, Deployment.StageStarted):
            yield f"{recorded.header.deployment}/{event.stage}/{event.attempt}"


def _is_of(event: Recorded, wish: Wish) -> bool:
    return event.header.command.id == sha256_hex(f"{event.header.actor}\n{wish.key}".encode())


def _lines(journal: Path) -> list[Effect]:
    if not journal.exists():
        return []
    # The last line may be half written: its process is not yet past it.
    whole = journal.read_text().rpartition("\n")[0]
    words = (line.split() for line in whole.splitlines())
    return [Effect(key, Fence.parse(fence)) for key, fence in words]
