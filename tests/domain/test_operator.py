"""What nobody can know is left to an operator: given an unknown outcome, then who decides what."""

import pytest

from shipslog.domain.commands import (
    AbortDeployment,
    Command,
    FinishStage,
    RetryDeployment,
    RollbackDeployment,
)
from shipslog.domain.deployment import OPERATOR_SECONDS, Status
from shipslog.domain.errors import StateConflictError
from shipslog.domain.handlers import legal_actions
from shipslog.domain.processes.rollout import next_look, react
from tests.invariants import violations

from .revisions import to_the_end, up_to_switch
from .story import ALICE, BLUE_GREEN, COMMANDS_ONLY, Story


async def in_doubt(story: Story, one: str, stage: str) -> None:
    """Let it be told that nobody can know what a running try did."""
    attempt = (await story.deployment(one)).attempts[stage].number
    said = {"outcome": "errored", "message": "not known", "unknown": True}
    await story.settle(one, FinishStage(stage=stage, attempt=attempt, **said))  # type: ignore[arg-type]


async def at_build(story: Story, stages: list[dict[str, object]] = COMMANDS_ONLY) -> str:
    """Return a deployment that waits for an operator because of its first stage."""
    await story.begin(stages)
    one = await story.request()
    await story.settle(one)
    await in_doubt(story, one, "build")
    return one


async def sound(story: Story) -> bool:
    return violations(await story.ledger.page(after=0, limit=1_000)) == []


async def test_an_unknown_outcome_waits_for_an_operator_and_holds_the_target() -> None:
    story = Story()
    one = await at_build(story)
    deployment, target = await story.deployment(one), await story.target()
    assert deployment.status is Status.NEEDS_OPERATOR
    assert [stage.name for stage in deployment.unknown] == ["build"]
    assert deployment.attempts["build"].status == "errored"
    assert (await story.topics(one))[-2:] == ["stage_finished", "operator_needed"]
    assert target.holder == one
    assert legal_actions(deployment) == ["retry", "abort", "rollback"]
    assert next_look(deployment, target) == deployment.deadline(deployment.stage("lint"))
    await story.finish(one, "lint")
    assert await story.running(one) == set(), "nothing new begins"
    deployment = await story.deployment(one)
    ended_at = deployment.attempts["build"].ended_at
    due = next_look(deployment, target)
    assert due
    assert ended_at
    assert (due - ended_at).total_seconds() == OPERATOR_SECONDS
    assert story.ledger.due[f"deployment:{one}"] == due
    assert not react(deployment, target, story.clock.now())
    assert await sound(story)


async def test_a_retry_is_a_new_try_of_the_stage_and_then_all_goes_on() -> None:
    story = Story()
    one = await at_build(story)
    receipt = await story.tell(RetryDeployment(deployment=one, reason="looked: nothing there"))
    assert receipt.stream == f"deployment:{one}"
    assert story.ledger.due[f"deployment:{one}"] == story.clock.now()
    deployment = await story.deployment(one)
    assert (deployment.status, legal_actions(deployment)) == (
        Status.RUNNING,
        ["abort", "rollback"],
    )
    with pytest.raises(StateConflictError) as refused:
        await story.tell(RetryDeployment(deployment=one))
    assert refused.value.context["legal_actions"] == ["abort", "rollback"]
    await story.settle(one)
    assert await story.running(one) == {"build", "lint"}
    assert (await story.deployment(one)).attempts["build"].number == 2
    for stage in ("lint", "build", "pack"):
        await story.finish(one, stage)
    assert (await story.deployment(one)).status is Status.SUCCEEDED
    assert await sound(story)


async def test_what_has_attempts_left_is_not_tried_again_by_itself() -> None:
    story = Story()
    retry = {"attempts": 3, "backoff": "1s"}
    one = await at_build(story, [{"name": "build", "run": ["true"], "retry": retry}])
    story.clock.move(3600)
    await story.settle(one)
    assert await story.running(one) == set()
    assert (await story.deployment(one)).status is Status.NEEDS_OPERATOR


async def test_a_try_that_is_asked_for_may_be_unknown_too() -> None:
    story = Story()
    one = await at_build(story)
    await story.tell(RetryDeployment(deployment=one))
    await story.settle(one)
    await in_doubt(story, one, "build")
    deployment = await story.deployment(one)
    assert (deployment.status, deployment.attempts["build"].number) == (Status.NEEDS_OPERATOR, 2)


async def test_several_unknown_outcomes_are_tried_again_together() -> None:
    story = Story()
    one = await at_build(story)
    await in_doubt(story, one, "lint")
    assert [stage.name for stage in (await story.deployment(one)).unknown] == ["build", "lint"]
    await story.tell(RetryDeployment(deployment=one))
    await story.settle(one)
    attempts = (await story.deployment(one)).attempts
    assert {name: attempt.number for name, attempt in attempts.items()} == {"build": 2, "lint": 2}


@pytest.mark.parametrize(
    ("command", "status"),
    [(AbortDeployment, Status.ABORTED), (RollbackDeployment, Status.ABORTED)],
)
async def test_whoever_ends_it_ends_it_without_another_try(
    command: type[Command], status: Status
) -> None:
    story = Story()
    one = await at_build(story)
    await story.tell(command(deployment=one))  # type: ignore[call-arg]
    await story.settle(one)
    await story.finish(one, "lint", "cancelled")
    deployment = await story.deployment(one)
    assert (deployment.status, deployment.attempts["build"].number) == (status, 1)
    assert (await story.target()).holder is None
    assert await sound(story)


async def test_who_takes_back_an_unknown_switch_undoes_it() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await story.settle(two)
    for stage in ("build", "deploy.snapshot", "deploy.start", "deploy.health"):
        await story.finish(two, stage)
    await in_doubt(story, two, "deploy.switch")
    await story.tell(RollbackDeployment(deployment=two))
    await story.settle(two)
    await story.finish(two, "deploy.undo_switch")
    await story.finish(two, "deploy.undo_start")
    assert (await story.deployment(two)).status is Status.ROLLED_BACK
    assert await sound(story)


async def test_what_is_undone_anyway_needs_no_operator() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.settle(one)
    await story.tell(AbortDeployment(deployment=one))
    await in_doubt(story, one, "build")
    await story.finish(one, "lint", "cancelled")
    assert (await story.deployment(one)).status is Status.ABORTED
    assert "operator_needed" not in await story.topics(one)


async def test_a_failure_beside_it_decides_without_an_operator() -> None:
    story = Story()
    one = await at_build(story)
    await story.finish(one, "lint", "failed")
    assert (await story.deployment(one)).status is Status.FAILED


async def test_nobody_is_waited_for_for_ever() -> None:
    story = Story()
    one = await at_build(story)
    await story.finish(one, "lint")
    story.clock.move(OPERATOR_SECONDS - 1)
    await story.settle(one)
    assert (await story.deployment(one)).status is Status.NEEDS_OPERATOR
    story.clock.move(1)
    await story.settle(one)
    deployment = await story.deployment(one)
    assert deployment.status is Status.FAILED
    ending = (await story.ledger.stream(deployment.stream))[-1].event
    assert (ending.outcome_kind, ending.message) == ("errored", "build: not known")  # type: ignore[attr-defined]
    assert (await story.target()).holder is None


async def test_at_the_end_of_patience_what_was_done_is_undone() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor")
    await story.finish(two, "verify")
    await in_doubt(story, two, "deploy.retire")
    story.clock.move(OPERATOR_SECONDS)
    await story.settle(two)
    assert await story.running(two) == {"deploy.undo_switch"}
    await story.finish(two, "deploy.undo_switch")
    await story.finish(two, "deploy.undo_start")
    deployment = await story.deployment(two)
    assert deployment.status is Status.ROLLED_BACK
    ending = (await story.ledger.stream(deployment.stream))[-1].event
    assert ending.outcome_kind == "errored"  # type: ignore[attr-defined]
    assert await sound(story)


async def undoing_in_doubt(story: Story) -> str:
    """Return a deployment of whose undoing nobody can know whether it was done."""
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor", "failed")
    await in_doubt(story, two, "deploy.undo_switch")
    return two


async def test_a_step_back_of_which_nobody_knows_waits_too_and_is_tried_again() -> None:
    story = Story()
    two = await undoing_in_doubt(story)
    story.clock.move(10)
    await story.settle(two)
    assert await story.running(two) == set()
    deployment = await story.deployment(two)
    assert (deployment.status, legal_actions(deployment)) == (Status.NEEDS_OPERATOR, ["retry"])
    await story.tell(AbortDeployment(deployment=two))
    await story.settle(two)
    assert (await story.deployment(two)).status is Status.NEEDS_OPERATOR
    await story.tell(RetryDeployment(deployment=two))
    assert (await story.deployment(two)).status is Status.ROLLING_BACK
    await story.settle(two)
    await story.finish(two, "deploy.undo_switch")
    await story.finish(two, "deploy.undo_start")
    assert (await story.deployment(two)).status is Status.ROLLED_BACK
    assert await sound(story)


async def test_a_step_back_that_nobody_decides_on_has_failed() -> None:
    story = Story()
    two = await undoing_in_doubt(story)
    story.clock.move(OPERATOR_SECONDS)
    await story.settle(two)
    deployment = await story.deployment(two)
    assert deployment.status is Status.ROLLBACK_FAILED
    ending = (await story.ledger.stream(deployment.stream))[-1].event
    assert (ending.outcome_kind, ending.message) == (  # type: ignore[attr-defined]
        "errored",
        "deploy.undo_switch: not known",
    )


async def test_a_retry_with_the_same_key_is_one_retry() -> None:
    story = Story()
    one = await at_build(story)
    door = story.ledger.door
    command = RetryDeployment(deployment=one)
    first = await door.carry_out(command, ALICE, key="again")
    await story.settle(one)
    await in_doubt(story, one, "build")
    again = await door.carry_out(command, ALICE, key="again")
    assert (again.known, again.position) == (True, first.position)
    assert (await story.deployment(one)).status is Status.NEEDS_OPERATOR
