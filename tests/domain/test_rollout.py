"""What a deployment does next: given events, when something ends, then stages or an ending."""

import pytest

from shipslog.domain.commands import AbortDeployment, FinishStage, RollbackDeployment
from shipslog.domain.deployment import QUEUE_SECONDS, Status
from shipslog.domain.processes.rollout import next_look, react
from shipslog.domain.target import Target

from .revisions import serving, to_the_end, up_to_switch
from .story import BLUE_GREEN, COMMANDS_ONLY, Story


async def test_independent_stages_run_at_once_and_the_rest_after_what_they_need() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.settle(one)
    assert await story.running(one) == {"build", "lint"}
    await story.finish(one, "build")
    assert await story.running(one) == {"lint"}
    await story.finish(one, "lint")
    assert await story.running(one) == {"pack"}
    await story.finish(one, "pack")
    assert (await story.deployment(one)).status is Status.SUCCEEDED


async def test_the_finish_of_a_stage_and_the_start_of_the_next_are_one_append() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.settle(one)
    await story.finish(one, "build")
    before = await story.ledger.head()
    await story.finish(one, "lint")
    written = await story.ledger.page(after=before, limit=10)
    assert [event.header.topic for event in written] == [
        "deployment.stage_finished",
        "deployment.stage_started",
    ]
    assert written[1].header.causation == written[0].reference


async def test_a_failed_stage_without_effects_fails_the_deployment_and_frees_the_target() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.settle(one)
    await story.finish(one, "build", "failed")
    assert await story.running(one) == {"lint"}, "it waits until the other one has stopped"
    await story.finish(one, "lint", "cancelled")
    assert (await story.deployment(one)).status is Status.FAILED
    assert (await story.target()).holder is None


async def test_a_stage_is_tried_again_after_its_backoff_which_doubles() -> None:
    story = Story()
    retry = {"attempts": 3, "backoff": "2s"}
    await story.begin([{"name": "build", "run": ["true"], "retry": retry}])
    one = await story.request()
    await story.settle(one)
    for pause in (2, 4):
        await story.finish(one, "build", "failed")
        assert await story.running(one) == set()
        story.clock.move(pause - 0.1)
        await story.settle(one)
        assert await story.running(one) == set(), "the backoff is not over"
        story.clock.move(0.1)
        await story.settle(one)
        assert await story.running(one) == {"build"}
    await story.finish(one, "build", "failed")
    assert (await story.deployment(one)).status is Status.FAILED


@pytest.mark.parametrize(("idempotent", "status"), [(True, "running"), (False, "failed")])
async def test_a_lost_result_is_tried_again_only_where_that_is_harmless(
    *, idempotent: bool, status: str
) -> None:
    story = Story()
    await story.begin([{"name": "build", "run": ["true"], "idempotent": idempotent}])
    one = await story.request()
    await story.settle(one)
    attempt = (await story.deployment(one)).attempts["build"].number
    lost = FinishStage(stage="build", attempt=attempt, outcome="errored", lost=True)
    await story.settle(one, lost)
    assert (await story.deployment(one)).status == status


async def test_what_is_lost_once_and_then_errs_is_tried_no_more_than_it_may_be() -> None:
    story = Story()
    await story.begin([{"name": "build", "run": ["true"], "idempotent": True}])
    one = await story.request()
    await story.settle(one)
    lost = FinishStage(stage="build", attempt=1, outcome="errored", lost=True)
    await story.settle(one, lost)
    await story.finish(one, "build", "errored")
    deployment = await story.deployment(one)
    assert (deployment.status, deployment.attempts["build"].number) == (Status.FAILED, 2)


async def test_a_step_back_that_errs_is_tried_again_until_it_has_no_try_left() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor", "failed")
    for pause in (1, 2):
        assert await story.running(two) == {"deploy.undo_switch"}
        await story.finish(two, "deploy.undo_switch", "errored")
        assert await story.running(two) == set(), "the backoff is not over"
        story.clock.move(pause)
        await story.settle(two)
    await story.finish(two, "deploy.undo_switch", "errored")
    assert (await story.deployment(two)).status is Status.ROLLBACK_FAILED


async def test_a_retirement_that_errs_is_tried_again_and_undoes_nothing() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor")
    await story.finish(two, "verify")
    await story.finish(two, "deploy.retire", "errored")
    story.clock.move(1)
    await story.settle(two)
    await story.finish(two, "deploy.retire")
    assert (await story.deployment(two)).status is Status.SUCCEEDED


async def test_a_failure_after_the_switch_takes_traffic_back_then_ends_the_new_revision() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await to_the_end(story, one)
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor", "failed")
    assert await story.running(two) == {"deploy.undo_switch"}
    back = Target.Routed(deployment=two, serving=serving(one))
    await story.finish(two, "deploy.undo_switch", "succeeded", back)
    assert await story.running(two) == {"deploy.undo_start"}
    gone = Target.RevisionRetired(deployment=two, revision=f"{two}.1")
    await story.finish(two, "deploy.undo_start", "succeeded", gone)
    assert (await story.deployment(two)).status is Status.ROLLED_BACK
    target = await story.target()
    assert (target.live and target.live.deployment, target.running) == (one, (f"{one}.1",))


async def test_a_failing_verify_is_undone_while_the_old_revision_still_runs() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    await to_the_end(story, await story.request())
    two = await story.request("2.0.0")
    await up_to_switch(story, two, "2.0.0")
    await story.finish(two, "deploy.monitor")
    await story.finish(two, "verify", "failed")
    assert await story.running(two) == {"deploy.undo_switch"}
    assert len((await story.target()).running) == 2


async def test_a_failure_before_the_switch_leaves_the_route_alone() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await to_the_end(story, one)
    two = await story.request("2.0.0")
    await story.settle(two)
    await story.finish(two, "build")
    await story.finish(two, "deploy.snapshot")
    await story.finish(two, "deploy.start")
    await story.finish(two, "deploy.health", "failed")
    assert await story.running(two) == {"deploy.undo_start"}
    await story.finish(two, "deploy.undo_start")
    assert (await story.deployment(two)).status is Status.FAILED
    assert (await story.target()).serving == serving(one)


async def test_an_undoing_that_fails_is_rollback_failed() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await up_to_switch(story, one)
    await story.finish(one, "deploy.monitor", "failed")
    for pause in (1, 2, 0):
        await story.finish(one, "deploy.undo_switch", "failed")
        story.clock.move(pause)
        if pause:
            await story.settle(one)
    assert (await story.deployment(one)).status is Status.ROLLBACK_FAILED


async def test_an_abort_undoes_what_was_done_and_is_idempotent() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await up_to_switch(story, one)
    await story.tell(AbortDeployment(deployment=one, reason="no"))
    await story.tell(AbortDeployment(deployment=one))
    await story.settle(one)
    assert await story.running(one) == {"deploy.monitor"}, "it changes the target: wait for it"
    await story.finish(one, "deploy.monitor", "cancelled")
    await story.finish(one, "deploy.undo_switch")
    await story.finish(one, "deploy.undo_start")
    assert (await story.deployment(one)).status is Status.ABORTED
    assert (await story.topics(one)).count("abort_requested") == 1


async def test_an_abort_before_any_effect_is_cancelled() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.tell(AbortDeployment(deployment=one))
    await story.settle(one)
    assert (await story.deployment(one)).status is Status.CANCELLED


async def test_a_rollback_of_a_running_one_is_rolled_back_once_traffic_had_reached_it() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await up_to_switch(story, one)
    await story.tell(RollbackDeployment(deployment=one))
    await story.finish(one, "deploy.monitor", "cancelled")
    await story.finish(one, "deploy.undo_switch")
    await story.finish(one, "deploy.undo_start")
    assert (await story.deployment(one)).status is Status.ROLLED_BACK


async def test_a_queued_deployment_begins_when_the_one_before_it_ends() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one, two, three = [await story.request(f"1.0.{n}") for n in range(3)]
    assert (await story.deployment(three)).behind == two
    await story.settle(one)
    await story.finish(one, "build", "failed")
    await story.finish(one, "lint", "cancelled")
    target = await story.target()
    assert (target.holder, target.queue) == (two, (three,))
    assert story.ledger.due[f"deployment:{two}"] == story.clock.now()


async def test_a_queued_deployment_that_is_aborted_leaves_the_line() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one, two, three = [await story.request(f"1.0.{n}") for n in range(3)]
    await story.tell(AbortDeployment(deployment=two))
    await story.settle(two)
    assert (await story.deployment(two)).status is Status.CANCELLED
    target = await story.target()
    assert (target.holder, target.queue) == (one, (three,))


async def test_a_queued_deployment_does_not_wait_for_ever() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    await story.request()
    two = await story.request("1.0.1")
    story.clock.move(QUEUE_SECONDS)
    await story.settle(two)
    assert (await story.deployment(two)).status is Status.CANCELLED


async def test_nothing_follows_an_ending() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.tell(AbortDeployment(deployment=one))
    await story.settle(one)
    deployment, target = await story.deployment(one), await story.target()
    assert not react(deployment, target, story.clock.now())
    assert next_look(deployment, target) is None
    assert f"deployment:{one}" not in story.ledger.due


async def test_every_deployment_that_is_not_final_has_a_time_to_be_looked_at() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one, two = await story.request(), await story.request("2.0.0")
    await up_to_switch(story, one)
    for name in (one, two):
        deployment = await story.deployment(name)
        assert next_look(deployment, await story.target()) is not None
        assert deployment.stream in story.ledger.due
