"""Watch: the invariants as they must hold at every append and every effect, and at the end.

It trusts nobody: whether a lease was held, an intent was durable or an owner is left is asked of
the tables themselves, not of the code that has decided on them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from shipslog.domain.append import Append, Lease
from shipslog.domain.deployment import FINAL, Deployment
from shipslog.domain.event import Event, Fence, Recorded, sha256_hex
from shipslog.domain.ledger import Receipt
from shipslog.domain.ports import Effect
from shipslog.domain.target import Target
from shipslog.domain.transaction import empty, fold
from tests.invariants import violations

from .fakes.server import FakeServer, Observer
from .fakes.world import ANNOUNCED, UNDONE, Done, FakePlatform, Watcher
from .people import ALICE

SEEN = ("succeeded", "failed")
UNSEEN = ("deploy.snapshot", "dry")
"""Stages of which the log and the clock alone can tell."""
ENDINGS = {f"deployment.{status}" for status in FINAL}


class Watch(Observer, Watcher):
    """Sees everything that is stored and everything that takes effect."""

    def __init__(self, time: Callable[[], float], reached: Counter[str]) -> None:
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.under_way: set[str] = set()
        """Streams of deployments that have not ended."""
        self.server: FakeServer
        self._time = time
        self._reached = reached
        self._last_owner: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._states: dict[str, Target] = {}
        self._folded = 0
        self._told: dict[str, Fence] = {}
        """By target: the highest fence under which somebody has told what became of a try."""

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self._time():10.4f} {what}")

    def complain(self, sentence: str) -> None:
        """Note a violation."""
        self.note(f"VIOLATION {sentence}")
        self.violations.append(sentence)

    def digest(self) -> str:
        """Return the SHA-256 of the trace."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def committed(self, append: Append, events: Sequence[Recorded]) -> None:
        """Check one append at the moment at which it is stored."""
        lease = append.lease
        for recorded in events:
            header = recorded.header
            self.note(f"{recorded.position} {header.topic} {recorded.reference} {header.fence}")
            if header.topic == "deployment.requested":
                self.under_way.add(header.stream)
            elif header.topic in ENDINGS:
                self.under_way.discard(header.stream)
                self._reached[header.topic] += 1
            self._note_told(recorded)
            if header.fence is not None and lease is None:
                self.complain(f"I11: {recorded.reference} has a fence and no lease")
        if lease is not None and lease.stream and self.server.held(lease) is None:
            self.complain(f"I11: an append under {lease}, which was not held any more")
        self._reached["restored"] += sum(e.header.topic == "target.restored" for e in events)

    def _note_told(self, recorded: Recorded) -> None:
        """Note who has told what it saw; what could not be seen is not told."""
        event, header = recorded.event, recorded.header
        if not isinstance(event, Deployment.StageFinished) or header.fence is None:
            return
        if (
            event.outcome not in SEEN
            or event.stage in UNSEEN
            or "did not end" in str(event.message)
        ):
            return
        target, fence = f"{header.environment}/{header.service}", Fence.parse(header.fence)
        self._told[target] = max(fence, self._told.get(target, fence))

    def fenced(self, append: Append) -> None:
        """Note that the log has refused who came too late."""
        self._reached["refused at the log"] += 1
        self.note(f"refused an append under {append.lease}")

    def crashed(self, gone: int) -> None:
        """Learn anew who is under way, now that part of the log is lost."""
        self.note(f"the store has lost {gone} events")
        self._reached["unflushed tail lost"] += gone > 0
        self.under_way = set()
        for recorded in self.server.rows:
            if recorded.header.topic == "deployment.requested":
                self.under_way.add(recorded.header.stream)
            elif recorded.header.topic in ENDINGS:
                self.under_way.discard(recorded.header.stream)

    def settled(self) -> None:
        """Check what must hold after every group: each deployment has an owner or is due."""
        for stream in self.under_way:
            row = self.server.work.get(stream)
            if row is None or (row.owner is None and row.due_at is None):
                self.complain(f"I21: nobody will look at {stream}")

    def claimed(self, lease: Lease, before: str | None) -> None:
        """Check that tokens grow, and note who takes over."""
        self.note(f"{lease.owner} has {lease.stream} under {lease.token}")
        if lease.token < self._tokens.get(lease.stream, 0):
            self.complain(f"I10: {lease} after token {self._tokens[lease.stream]}")
        self._tokens[lease.stream] = lease.token
        if self._last_owner.get(lease.stream, lease.owner) != lease.owner:
            self._reached["takeover"] += 1
        if before is not None:
            self._reached["takeover of a lost lease"] += 1
        self._last_owner[lease.stream] = lease.owner

    def sent(self, verb: str, effect: Effect) -> None:
        """Check that nobody sends who may not rely on its lease any more."""
        time, token = self._time(), effect.fence.token
        if self.server.lease_seconds is not None and any(
            row.token == token and row.expires <= time for row in self.server.work.values()
        ):
            self.complain(f"I16: {verb} of {effect.key} was sent under {token}, which had ended")

    def refused(self, verb: str, effect: Effect) -> None:
        """Note that a target has refused who came too late."""
        self._reached["refused at the target"] += 1
        self.note(f"refused {verb} {effect.key} {effect.fence}")

    def stopped(self, verb: str, effect: Effect) -> None:
        """Note that something came after what undoes it."""
        self._reached["refused as stopped"] += 1
        self.note(f"refused {verb} {effect.key}, which was stopped")

    def done(self, done: Done) -> None:
        """Check an effect at the moment at which the world changes."""
        effect = done.effect
        self.note(f"effect {done.verb} {effect.key} {effect.fence} {done.what}")
        if effect.fence < (told := self._told.get(effect.target, effect.fence)):
            self.complain(f"I12: {done.verb} of {effect.key} came after {told} told of the target")
        if effect.key.stage == ANNOUNCED or effect.key.stage.startswith("restore-"):
            return
        stream = f"deployment:{effect.key.deployment}"
        if done.verb in UNDONE and "undo" not in effect.key.stage and self._is_undone(stream):
            self.complain(f"I13: {done.verb} of {effect.key} came after it was undone")
        stage = effect.key.stage.partition(".check-")[0]
        if not self._is_meant(stream, stage, effect.key.attempt):
            self.complain(f"I13: {done.verb} of {effect.key} has no durable intent")
        held = self.server.rows[effect.fence.position - 1].event if effect.fence.position else None
        if not isinstance(held, Target.Held) or held.deployment != effect.key.deployment:
            self.complain(f"I12: {effect.key} came under {effect.fence}, of {held}")

    def _is_undone(self, stream: str) -> bool:
        return any(
            isinstance(one := recorded.event, Deployment.StageFinished)
            and (one.outcome, ".undo_" in one.stage) == ("succeeded", True)
            for recorded in self.server.streams[stream]
        )

    def _is_meant(self, stream: str, stage: str, attempt: int) -> bool:
        return any(
            isinstance(one := recorded.event, Deployment.StageStarted)
            and (one.stage, one.attempt) == (stage, attempt)
            for recorded in self.server.streams[stream]
            if recorded.position <= self.server.durable
        )

    def note_marks(self, first: int) -> None:
        """Note what the part of the log from a position on has seen."""
        back: dict[str, str | None] = {}
        undone: set[str] = set()
        before = ""
        for recorded in self.server.rows:
            event, stream = recorded.event, recorded.header.stream
            mark = self._mark(event, stream in undone, back)
            if isinstance(event, Deployment.Requested):
                back[stream.partition(":")[2]] = event.rollback_of
            elif isinstance(event, Deployment.RollbackStarted):
                undone.add(stream)
            elif isinstance(event, Target.Held) and before == "target.released":
                mark = "handed over in line"
            before = recorded.header.topic
            if mark and recorded.position >= first:
                self._reached[mark] += 1

    def _mark(self, event: Event, is_undone: bool, back: Mapping[str, str | None]) -> str | None:  # noqa: FBT001
        match event:
            case Deployment.Requested(rollback_of=str(name)):
                is_again = back.get(name) is not None
                return "rollback of a rollback" if is_again else "rollback of a finished one"
            case Deployment.Requested(retry_of=str()):
                return "retry"
            case Deployment.RollbackRequested():
                return "rolled back while it ran"
            case Deployment.AbortRequested() if is_undone:
                return "abort of what is being undone"
            case Deployment.StageFinished(lost=True):
                return "tried again after a loss"
            case _:
                return None

    def differences(self, world: FakePlatform) -> Iterator[str]:
        """Yield where the world is not as the durable log says."""
        for target in self._targets():
            alive, route = world.alive(target.name), world.routes.get(target.name)
            live, serving = target.live, target.serving
            weights = serving.weights if serving else {}
            if live is not None and alive.get(live.id) != live.capacity:
                yield f"world: {live.id} is live and runs as {alive}"
            if weights != (dict(route.weights) if route else {}):
                yield f"world: {target.name} is routed {route}, the log says {weights}"
            if too_many := set(alive) - set(target.running):
                yield f"world: {too_many} run at {target.name}, the log knows {target.running}"

    def _targets(self) -> list[Target]:
        """Return every target as it stands in the durable log; only what is new is folded."""
        for recorded in self.server.rows[self._folded : self.server.durable]:
            stream = recorded.header.stream
            if stream.startswith("target:"):
                state = fold(self._states.get(stream) or empty(stream), recorded.fact)
                assert isinstance(state, Target)
                self._states[stream] = state
        self._folded = self.server.durable
        return list(self._states.values())

    def at_the_end(self, world: FakePlatform, answered: Mapping[str, Receipt]) -> None:
        """Check the whole log, and the log against the world and against what was promised."""
        log = self.server.rows[: self.server.durable]
        for sentence in violations(log):
            self.complain(sentence)
        for sentence in (
            *_acknowledged(log, answered),
            *_doubled(world),
            *_fences_of(log, world),
            *self.differences(world),
        ):
            self.complain(sentence)


def _acknowledged(log: Sequence[Recorded], answered: Mapping[str, Receipt]) -> Iterator[str]:
    for key, receipt in answered.items():
        if receipt.position > len(log):
            yield f"I1: {key} was acknowledged at {receipt.position} and is not there"
        elif receipt.first <= receipt.position and receipt.first != receipt.position:
            wanted = sha256_hex(f"{ALICE.subject}\n{key}".encode())
            if log[receipt.first - 1].header.command.id != wanted:
                yield f"I1: at {receipt.first} is {log[receipt.first - 1].reference}, not {key}"


def _doubled(world: FakePlatform) -> Iterator[str]:
    for key, number in world.starts.items():
        if number > 1:
            yield f"I14: {key} was started {number} times"


def _fences_of(log: Sequence[Recorded], world: FakePlatform) -> Iterator[str]:
    highest: dict[str, Fence] = {}
    for recorded in log:
        if recorded.header.fence:
            name = f"{recorded.header.environment}/{recorded.header.service}"
            fence = Fence.parse(recorded.header.fence)
            highest[name] = max(fence, highest.get(name, fence))
    for target, fence in world.fences.items():
        if (
            target in highest
            and fence > highest[target]
            and fence.position > highest[target].position
        ):
            yield f"I10: {target} has seen {fence}, the log only {highest[target]}"
