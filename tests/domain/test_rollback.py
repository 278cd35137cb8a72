"""Rollback: what undoes a running deployment, and the plan that brings an earlier one back."""

import pytest

from shipslog.domain.errors import StateConflictError
from shipslog.domain.plan import levels
from shipslog.domain.rollback import redeploy, unwind
from shipslog.domain.stages import RestoreSpec, RetireSpec
from shipslog.domain.stages.retire import Which

from .language.pipelines import LINT, WEB, of, plan_of, with_deploy

PLAN = plan_of(WEB)


@pytest.mark.parametrize("begun", [[], ["build"], ["build", "lint", "deploy.snapshot"]])
def test_what_had_no_effect_is_not_undone(begun: list[str]) -> None:
    assert unwind(PLAN, begun) == ()


def test_what_was_started_ends() -> None:
    (stage,) = unwind(PLAN, ["deploy.snapshot", "deploy.start"])
    assert (stage.name, stage.needs) == ("deploy.undo_start", ())
    assert stage.spec == RetireSpec(which=Which.NEW, drain=30.0)
    assert stage.timeout > 30


def test_traffic_goes_back_before_what_was_started_ends() -> None:
    begun = [stage.name for stage in PLAN.stages]
    switch, start = unwind(PLAN, begun)
    assert (switch.name, switch.spec) == ("deploy.undo_switch", RestoreSpec())
    assert (start.name, start.needs) == ("deploy.undo_start", ("deploy.undo_switch",))


def test_to_bring_the_old_one_up_again_there_is_time_for_its_health() -> None:
    patient = plan_of(with_deploy(health={"attempts": 100, "timeout": "10s"}))
    switch, _ = unwind(patient, ["deploy.start", "deploy.switch"])
    assert switch.timeout > 1000


def test_a_step_back_is_tried_more_than_once() -> None:
    assert all(stage.attempts > 1 for stage in unwind(PLAN, ["deploy.start", "deploy.switch"]))


def test_the_undoing_carries_the_stages_name() -> None:
    plan = plan_of(of({"name": "release", "deploy": {"command": ["serve"]}}))
    names = [stage.name for stage in unwind(plan, ["release.start", "release.switch"])]
    assert names == ["release.undo_switch", "release.undo_start"]


def test_to_bring_a_version_back_nothing_is_built_or_verified_anew() -> None:
    plan = redeploy(PLAN, workspace_of="earlier")
    assert levels(plan.stages) == [
        ["deploy.snapshot"],
        ["deploy.start"],
        ["deploy.health"],
        ["deploy.switch"],
        ["deploy.monitor"],
        ["deploy.retire"],
    ]
    assert (plan.workspace_of, plan.source) == ("earlier", None)
    assert (plan.version, plan.target) == (PLAN.version, PLAN.target)
    assert plan.stage("deploy.start").spec == PLAN.stage("deploy.start").spec


def test_what_was_brought_back_can_be_brought_back_again() -> None:
    once = redeploy(PLAN, workspace_of="earlier")
    assert redeploy(once, workspace_of="earlier") == once


def test_what_deployed_nothing_cannot_return() -> None:
    with pytest.raises(StateConflictError, match="was not deployed"):
        redeploy(plan_of(of(LINT)), workspace_of="earlier")
