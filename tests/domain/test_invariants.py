"""The invariants hold along random stories, and each of them sees what it is there to see."""

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from shipslog.domain.commands import (
    AbortDeployment,
    FinishStage,
    RetryDeployment,
    RollbackDeployment,
)
from shipslog.domain.deployment import Deployment
from shipslog.domain.errors import RefusedError
from shipslog.domain.event import CommandRef, Event, Recorded, encode_payload, sha256_hex
from shipslog.domain.target import Place, Target

from ..invariants import i1_acknowledged_is_stored, i6_bytes_stay, violations
from .revisions import revision, serving, to_the_end
from .story import BLUE_GREEN, Story


@pytest.mark.parametrize("seed", range(40))
async def test_random_stories_keep_every_invariant_and_come_to_an_end(seed: int) -> None:
    story, chance = Story(), random.Random(seed)  # noqa: S311 - a seed, no secret
    await story.begin(BLUE_GREEN)
    deployments: list[str] = []
    for _ in range(60):
        await _something_happens(story, chance, deployments)
        story.clock.move(chance.choice((0, 0.1, 3)))
    for _ in range(400):
        if not await _somebody_goes_on(story, chance, deployments, wish=0.0):
            break
        story.clock.move(1)
    states = [await story.deployment(name) for name in deployments]
    assert all(state.is_final for state in states)
    assert not violations(await story.ledger.page(after=0, limit=100_000))


async def _something_happens(story: Story, chance: random.Random, deployments: list[str]) -> None:
    if len(deployments) < 6 and chance.random() < 0.2:
        deployments.append(await story.request(f"1.0.{len(deployments)}"))
    await _somebody_goes_on(story, chance, deployments, wish=0.1)


async def _somebody_goes_on(
    story: Story, chance: random.Random, deployments: list[str], wish: float
) -> bool:
    open_ones = [n for n in deployments if not (await story.deployment(n)).is_final]
    if deployments and chance.random() < wish:
        await _a_person_wishes(story, chance, deployments)
    for name in open_ones:
        state = await story.deployment(name)
        running = chance.sample(state.running, k=min(len(state.running), chance.randint(0, 2)))
        outcomes = [_outcome(chance, state, stage.name) for stage in running]
        await story.settle(name, *outcomes)
    return bool(open_ones)


async def _a_person_wishes(story: Story, chance: random.Random, deployments: list[str]) -> None:
    wish = chance.choice((AbortDeployment, RollbackDeployment, RetryDeployment))
    try:
        receipt = await story.tell(wish(deployment=chance.choice(deployments)))
    except RefusedError:
        return
    name = receipt.stream.partition(":")[2]
    if name not in deployments:
        deployments.append(name)


def _outcome(chance: random.Random, state: Deployment, stage: str) -> FinishStage:
    forward = stage in {planned.name for planned in state.recorded_plan.stages}
    if forward and state.is_stopping:
        outcome = "cancelled"
    else:
        outcome = chance.choices(("succeeded", "failed", "errored"), (8, 1, 0.5))[0]
    number = state.attempts[stage].number
    facts = _facts(state, stage) if outcome == "succeeded" else ()
    return FinishStage(stage=stage, attempt=number, outcome=outcome, facts=facts)


def _facts(state: Deployment, stage: str) -> tuple[Event, ...]:
    name = state.id
    if stage == "deploy.start":
        brought = msgspec.structs.replace(
            revision(name, state.recorded_plan.version),
            workspace=state.recorded_plan.workspace_of or name,
        )
        place = Place("127.0.0.1", 4000, 1)
        return (Target.RevisionStarted(deployment=name, revision=brought, instances=(place,)),)
    if stage == "deploy.switch":
        return (Target.Routed(deployment=name, serving=serving(name)),)
    if stage == "deploy.undo_start":
        return (Target.RevisionRetired(deployment=name, revision=f"{name}.1"),)
    return ()


async def _whole_log() -> list[Recorded]:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    second = await story.request("2.0.0")
    await to_the_end(story, second, "2.0.0")
    await story.tell(RollbackDeployment(deployment=second))
    return list(await story.ledger.page(after=0, limit=1000))


def _numbered(log: list[Recorded]) -> list[Recorded]:
    """Return a log as if it had been written so: no gap, no cause, each event its own command."""
    newest: Counter[str] = Counter()
    written: list[Recorded] = []
    for position, event in enumerate(log, 1):
        newest[event.header.stream] += 1
        header = msgspec.structs.replace(
            event.header,
            stream_version=newest[event.header.stream],
            causation=None,
            command=CommandRef(str(position), ""),
        )
        written.append(Recorded(position, header, event.payload))
    return written


def _without(log: list[Recorded], topic: str) -> list[Recorded]:
    return _numbered([event for event in log if event.header.topic != topic])


def _again(log: list[Recorded], topic: str) -> list[Recorded]:
    at = _index(log, topic)
    return _numbered([*log[: at + 1], *log[at:]])


def _first(log: list[Recorded], topic: str) -> list[Recorded]:
    return _numbered([log[_index(log, topic)], *log])


def _restored(log: list[Recorded], revision: str) -> list[Recorded]:
    retired = log[_index(log, "target.revision_retired")]
    payload = encode_payload(Target.Restored(revision=revision, detail="gone", instances=()))
    restored = _moved(retired, topic=Target.Restored.TOPIC, payload_sha256=sha256_hex(payload))
    return _numbered([*log, Recorded(0, restored.header, payload)])


def _index(log: list[Recorded], topic: str) -> int:
    return [event.header.topic for event in log].index(topic)


def _moved(event: Recorded, **header: object) -> Recorded:
    changed = msgspec.structs.replace(event.header, **header)
    return Recorded(event.position, changed, event.payload)


Damage = Callable[[list[Recorded]], list[Recorded]]

DAMAGES: list[tuple[Damage, str]] = [
    (lambda log: log[:3] + log[4:], "I2"),
    (lambda log: [*log[:-1], _moved(log[-1], stream_version=99)], "I3"),
    (lambda log: [*log, Recorded(len(log) + 1, log[2].header, log[2].payload)], "I4"),
    (lambda log: [*log[:-1], Recorded(log[-1].position, log[-1].header, b"{}")], "payload"),
    (lambda log: [*log[:-1], _moved(log[-1], causation="target:x@9")], "not there yet"),
    (lambda log: [*log[:-1], _moved(log[-1], fence="1.0")], "I10"),
    (lambda log: _again(log, "deployment.succeeded"), "I20"),
    (lambda log: _again(log, "target.held"), "I19"),
    (lambda log: _without(log, "target.held"), "I19"),
    (lambda log: _first(log, "target.routed"), "I13"),
    (lambda log: _again(log, "deployment.stage_started"), "I14"),
    (lambda log: _again(log, "deployment.stage_finished"), "I14"),
    (lambda log: _without(log, "deployment.linked"), "I23"),
    (lambda log: _restored(log, "another.1"), "was not live"),
]


@pytest.mark.parametrize(("damage", "seen"), DAMAGES)
async def test_each_invariant_sees_what_it_is_there_for(damage: Damage, seen: str) -> None:
    found = violations(damage(await _whole_log()))
    assert any(seen in sentence for sentence in found), found


async def test_a_lost_acknowledgement_and_changed_bytes_are_seen() -> None:
    log = await _whole_log()
    assert list(i1_acknowledged_is_stored(log, {"gone": 3}))
    assert not list(i1_acknowledged_is_stored(log, {log[2].header.deployment or "": 3}))
    assert list(i6_bytes_stay(log, log[:-1]))
    assert not list(i6_bytes_stay(log[:-1], log))
