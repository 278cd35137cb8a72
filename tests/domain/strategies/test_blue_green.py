"""Blue-green: the stages a deploy stage expands into, and what waits for what."""

from itertools import pairwise
from typing import Any

import pytest

from shipslog.domain.health import CommandCheck, HealthPolicy, HttpCheck, Require, TcpCheck
from shipslog.domain.stages import (
    HealthSpec,
    MonitorSpec,
    RetireSpec,
    SnapshotSpec,
    StartSpec,
    SwitchSpec,
)
from shipslog.domain.stages.retire import Which

from ..language.pipelines import DEPLOY, WEB, of, plan_of, wait, with_deploy

POLICY = HealthPolicy(checks=(HttpCheck("/healthz", 200),), timeout=2.0, interval=0.5, attempts=10)


def needs(*stages: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    document = of({**DEPLOY, "needs": []}, *stages)
    return {stage.name: stage.needs for stage in plan_of(document).stages}


def test_a_deploy_stage_becomes_six_in_a_row() -> None:
    stages = plan_of(WEB).stages[2:8]
    assert [(stage.name, type(stage.spec)) for stage in stages] == [
        ("deploy.snapshot", SnapshotSpec),
        ("deploy.start", StartSpec),
        ("deploy.health", HealthSpec),
        ("deploy.switch", SwitchSpec),
        ("deploy.monitor", MonitorSpec),
        ("deploy.retire", RetireSpec),
    ]
    for before, stage in pairwise(stages):
        assert stage.needs[0] == before.name


def test_the_first_needs_what_the_deploy_stage_needs() -> None:
    assert plan_of(WEB).stage("deploy.snapshot").needs == ("build", "lint")


def test_the_stages_carry_the_name_of_theirs() -> None:
    document = of({"name": "release", "deploy": {"command": ["serve"]}})
    assert plan_of(document).stages[3].name == "release.switch"


def test_what_needs_the_deploy_waits_for_its_monitor() -> None:
    assert needs(wait("verify", "deploy"))["verify"] == ("deploy.monitor",)


def test_the_old_revision_is_kept_until_all_that_follows_has_ended() -> None:
    found = needs(
        wait("verify", "deploy"),
        wait("report", "verify", "aside"),
        wait("aside"),
        wait("tell", "report"),
    )
    assert found["deploy.retire"] == ("deploy.monitor", "verify", "report", "tell")


def test_the_start_knows_the_command_and_how_many() -> None:
    spec = plan_of(WEB).stage("deploy.start").spec
    assert isinstance(spec, StartSpec)
    assert spec.argv == ("python", "server.py", "--port", "{port}", "--version", "{version}")
    assert (spec.capacity, spec.policy) == (2, POLICY)


def test_the_variables_of_the_stage_are_those_of_the_service() -> None:
    stage = {**with_deploy()["stages"][0], "env": {"MODE": "fast"}}
    spec = plan_of(of(stage)).stage("deploy.start").spec
    assert isinstance(spec, StartSpec)
    assert spec.env == {"MODE": "fast"}


def test_health_and_monitor_ask_the_same() -> None:
    assert plan_of(WEB).stage("deploy.health").spec == HealthSpec(policy=POLICY)
    assert plan_of(WEB).stage("deploy.monitor").spec == MonitorSpec(
        seconds=10.0, policy=POLICY, max_error_share=500, min_requests=20
    )


def test_the_checks_are_planned_as_they_are_written() -> None:
    checks = [
        {"tcp": True},
        {"tcp": 9000},
        {"command": ["probe", "{port}"]},
        {"http": "/", "expect": 204},
    ]
    document = with_deploy(health={"checks": checks, "require": "healthy"})
    spec = plan_of(document).stage("deploy.health").spec
    assert isinstance(spec, HealthSpec)
    assert spec.policy.require is Require.HEALTHY
    assert spec.policy.checks == (
        TcpCheck(),
        TcpCheck(9000),
        CommandCheck(("probe", "{port}")),
        HttpCheck("/", 204),
    )


def test_each_stage_has_the_time_it_needs() -> None:
    plan = plan_of(WEB)
    assert plan.stage("deploy.health").timeout > 10 * 2.5
    assert plan.stage("deploy.monitor").timeout > 10
    assert plan.stage("deploy.retire").timeout > 30
    assert plan.stage("deploy.retire").spec == RetireSpec(which=Which.PREVIOUS, drain=30.0)


@pytest.mark.parametrize("name", ["deploy.start", "deploy.switch"])
def test_what_would_be_another_effect_is_tried_once(name: str) -> None:
    assert plan_of(WEB).stage(name).attempts == 1
