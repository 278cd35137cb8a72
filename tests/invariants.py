"""The invariants, one function each: run over a log after a test, a crash or a simulated step.

Numbers are those of the list of invariants the project was planned with. Each function yields a
sentence for every violation; `violations` runs them all over the events of a whole log.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from shipslog.domain.deployment import FINAL, Cause, Deployment, StageStatus
from shipslog.domain.event import Event, Fence, Recorded, sha256_hex
from shipslog.domain.processes.rollout import next_look
from shipslog.domain.target import Target
from shipslog.domain.transaction import Aggregate, empty, fold

Log = Sequence[Recorded]
Moment = tuple[Recorded, Aggregate, Aggregate]
"""An event, and its stream's state before and after it."""

ENDINGS = {f"deployment.{status}" for status in FINAL}


def violations(log: Log) -> list[str]:
    """Return every violation that the log alone can show; damaged bytes are not folded."""
    found = [sentence for check in OF_BYTES for sentence in check(log)]
    if found:
        return found
    moments = list(_moments(log))
    return [sentence for check in OF_STATES for sentence in check(moments)]


def i1_acknowledged_is_stored(log: Log, acknowledged: Mapping[str, int]) -> Iterator[str]:
    """Each acknowledged deployment stands at or before the position it was acknowledged with."""
    requested = {
        event.header.deployment: event.position
        for event in log
        if event.header.topic == "deployment.requested"
    }
    for deployment, position in acknowledged.items():
        if requested.get(deployment, position + 1) > position:
            yield f"I1: {deployment} was acknowledged at {position} and is not there"


def i2_positions_have_no_gap(log: Log) -> Iterator[str]:
    """Positions are 1..N."""
    for expected, event in enumerate(log, 1):
        if event.position != expected:
            yield f"I2: position {event.position} stands where {expected} should"
            return


def i3_versions_have_no_gap(log: Log) -> Iterator[str]:
    """Stream versions are 1..n."""
    newest: defaultdict[str, int] = defaultdict(int)
    for event in log:
        newest[event.header.stream] += 1
        if event.header.stream_version != newest[event.header.stream]:
            yield f"I3: {event.reference} stands where version {newest[event.header.stream]} should"


def i4_a_command_writes_once(log: Log) -> Iterator[str]:
    """The events of one command id stand side by side: it wrote once, and nothing in between."""
    last: dict[str, int] = {}
    for event in log:
        command = event.header.command.id
        if command in last and last[command] != event.position - 1:
            yield f"I4: command {command[:8]} wrote at {last[command]} and at {event.position}"
        last[command] = event.position


def i6_bytes_stay(before: Log, after: Log) -> Iterator[str]:
    """What was stored is stored still, byte for byte."""
    for old, new in zip(before, after, strict=False):
        if (old.header, old.payload) != (new.header, new.payload):
            yield f"I6: position {old.position} has changed"
    if len(after) < len(before):
        yield f"I6: positions above {len(after)} are gone"


def payloads_match_their_hashes(log: Log) -> Iterator[str]:
    """The header, which is the Merkle leaf, vouches for its payload."""
    for event in log:
        if sha256_hex(event.payload) != event.header.payload_sha256:
            yield f"position {event.position} has another payload than its header says"


def times_do_not_run_back(log: Log) -> Iterator[str]:
    """`recorded_at` grows along the log, `occurred_at` along a stream."""
    recorded = None
    occurred: dict[str, object] = {}
    for event in log:
        header = event.header
        if recorded is not None and header.recorded_at < recorded:
            yield f"position {event.position} was recorded before the one before it"
        if header.stream in occurred and header.occurred_at < occurred[header.stream]:  # type: ignore[operator]
            yield f"{event.reference} occurred before the one before it"
        recorded, occurred[header.stream] = header.recorded_at, header.occurred_at


def causes_come_first(log: Log) -> Iterator[str]:
    """What an event names as its cause stands before it."""
    known: set[str] = set()
    for event in log:
        if event.header.causation is not None and event.header.causation not in known:
            yield f"{event.reference} names {event.header.causation}, which is not there yet"
        known.add(event.reference)


def i10_fences_grow(log: Log) -> Iterator[str]:
    """Along a target the fences of what workers wrote never go down (I10, I11)."""
    highest: dict[str, Fence] = {}
    for event in log:
        if event.header.fence is None:
            continue
        fence, target = Fence.parse(event.header.fence), _target_of(event)
        if target in highest and fence < highest[target]:
            yield f"I10: {event.reference} has fence {fence} after {highest[target]}"
        highest[target] = max(fence, highest.get(target, fence))


def i13_intents_come_first(moments: Sequence[Moment]) -> Iterator[str]:
    """What changed at a target belongs to a stage whose start is recorded and not yet its end."""
    deployments: dict[str, Deployment] = {}
    changing = (Target.RevisionStarted, Target.Routed, Target.RevisionRetired)
    for event, _, after in moments:
        if isinstance(after, Deployment):
            deployments[after.id] = after
        elif isinstance(event.event, changing):
            owner = deployments.get(event.event.deployment)
            if owner is None or not owner.attempts:
                yield f"I13: {event.reference} has no intent before it"


def i14_tries_are_counted(moments: Sequence[Moment]) -> Iterator[str]:
    """Each try of a stage has the next number, and ends once: an effect key is of one try."""
    for event, before, _ in moments:
        if not isinstance(before, Deployment):
            continue
        match event.event:
            case Deployment.StageStarted(stage=stage, attempt=number):
                last = before.attempts.get(stage)
                if number != (last.number + 1 if last else 1):
                    yield f"I14: {event.reference} starts try {number} of {stage}"
            case Deployment.StageFinished(stage=stage, attempt=number):
                last = before.attempts.get(stage)
                is_running = before.has_status(stage, StageStatus.RUNNING)
                if last is None or last.number != number or not is_running:
                    yield f"I14: {event.reference} ends try {number} of {stage}"
            case _:
                pass


def i17_stages_start_in_order(moments: Sequence[Moment]) -> Iterator[str]:
    """A stage starts after all that it needs; after an abort only what undoes starts."""
    for event, before, _ in moments:
        started = event.event
        if not isinstance(started, Deployment.StageStarted) or not isinstance(before, Deployment):
            continue
        stage = before.stage(started.stage)
        missing = [n for n in stage.needs if not before.has_status(n, StageStatus.SUCCEEDED)]
        if missing:
            yield f"I17: {event.reference} starts {stage.name} before {missing}"
        if before.is_abort_wanted and stage not in before.undo:
            yield f"I17: {event.reference} starts {stage.name} after an abort"
        if before.has_status(stage.name, StageStatus.RUNNING):
            yield f"I17: {event.reference} starts {stage.name}, which is running"


def i19_one_holder(moments: Sequence[Moment]) -> Iterator[str]:
    """A target is held by nobody when it is held, and released by who holds it."""
    for event, before, _ in moments:
        if not isinstance(before, Target):
            continue
        held = event.event
        if isinstance(held, Target.Held) and before.holder is not None:
            yield f"I19: {event.reference} holds what {before.holder} holds"
        if isinstance(held, Target.Released) and before.holder != held.deployment:
            yield f"I19: {event.reference} releases what {before.holder} holds"
        if (changer := _changer(held)) and before.holder != changer:
            yield f"I19: {event.reference} changes what {before.holder} holds"


def i20_final_is_final(moments: Sequence[Moment]) -> Iterator[str]:
    """Only annotations follow an ending."""
    for event, before, _ in moments:
        is_after_end = isinstance(before, Deployment) and before.is_final
        if is_after_end and not isinstance(event.event, Deployment.Linked):
            yield f"I20: {event.reference} ({event.header.topic}) follows an ending"


def i21_always_a_next_look(moments: Sequence[Moment]) -> Iterator[str]:
    """Every deployment that is not final has a deadline after each of its events."""
    targets: dict[str, Target] = {}
    for event, _, after in moments:
        if isinstance(after, Target):
            targets[after.name] = after
        elif isinstance(after, Deployment) and not after.is_final:
            name = after.recorded_plan.target
            if next_look(after, targets.get(name, Target(name=name))) is None:
                yield f"I21: nobody looks again after {event.reference}"


def i22_abort_once(moments: Sequence[Moment]) -> Iterator[str]:
    """A repeated abort writes nothing."""
    for event, before, _ in moments:
        is_abort = isinstance(event.event, Deployment.AbortRequested)
        if is_abort and isinstance(before, Deployment) and before.is_abort_wanted:
            yield f"I22: {event.reference} repeats an abort"


def i23_rollbacks_are_linked(moments: Sequence[Moment]) -> Iterator[str]:
    """What takes a deployment back names it, and is named by it, in one command."""
    links = {
        event.event.rolled_back_by: event.header
        for event, _, _ in moments
        if isinstance(event.event, Deployment.Linked)
    }
    for event, _, _ in moments:
        if not isinstance(event.event, Deployment.Requested) or not event.event.rollback_of:
            continue
        link = links.get(event.header.deployment or "")
        taken_back = f"deployment:{event.event.rollback_of}"
        if link is None or (link.stream, link.command) != (taken_back, event.header.command):
            yield f"I23: {event.reference} takes back {taken_back}, which does not say so"


def only_what_was_live_is_restored(moments: Sequence[Moment]) -> Iterator[str]:
    """What is started again was live, or is what the holder goes back to."""
    for event, before, _ in moments:
        if isinstance(event.event, Target.Restored) and isinstance(before, Target):
            back = before.snapshot.live if before.snapshot else None
            if event.event.revision not in {before.live and before.live.id, back}:
                yield f"{event.reference} restores {event.event.revision}, which was not live"


def endings_say_what_happened(moments: Sequence[Moment]) -> Iterator[str]:
    """Success has every stage behind it; what was aborted was not called failed."""
    for event, before, after in moments:
        if event.header.topic not in ENDINGS or not isinstance(before, Deployment):
            continue
        done = all(
            before.has_status(stage.name, StageStatus.SUCCEEDED)
            for stage in before.recorded_plan.stages
        )
        if isinstance(event.event, Deployment.Succeeded) and not done:
            yield f"{event.reference} succeeded with stages left"
        if before.cause is Cause.ABORT and isinstance(event.event, Deployment.Failed):
            yield f"{event.reference} calls an abort a failure"
        if isinstance(after, Deployment) and after.running:
            yield f"{event.reference} ended with {[stage.name for stage in after.running]} running"


OF_BYTES: tuple[Callable[[Log], Iterator[str]], ...] = (
    i2_positions_have_no_gap,
    i3_versions_have_no_gap,
    i4_a_command_writes_once,
    payloads_match_their_hashes,
    times_do_not_run_back,
    causes_come_first,
    i10_fences_grow,
)
OF_STATES: tuple[Callable[[Sequence[Moment]], Iterator[str]], ...] = (
    i13_intents_come_first,
    i14_tries_are_counted,
    i17_stages_start_in_order,
    i19_one_holder,
    i20_final_is_final,
    i21_always_a_next_look,
    i22_abort_once,
    i23_rollbacks_are_linked,
    only_what_was_live_is_restored,
    endings_say_what_happened,
)


def _moments(log: Log) -> Iterator[Moment]:
    states: dict[str, Aggregate] = {}
    for event in log:
        before = states.get(event.header.stream) or empty(event.header.stream)
        states[event.header.stream] = after = fold(before, event.fact)
        yield event, before, after


def _target_of(event: Recorded) -> str:
    return f"{event.header.environment}/{event.header.service}"


def _changer(event: Event) -> str | None:
    kinds = (
        Target.SnapshotTaken,
        Target.RevisionStarted,
        Target.Routed,
        Target.RevisionRetired,
    )
    return event.deployment if isinstance(event, kinds) else None
