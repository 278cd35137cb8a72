"""The compiler: one graph per definition, one plan per request."""

from typing import Any

import pytest
import rfc8785
from msgspec import structs, to_builtins

from shipslog.domain.commands import RequestDeployment
from shipslog.domain.errors import DigestRequiredError, InvalidError
from shipslog.domain.event import sha256_hex
from shipslog.domain.health import HealthPolicy, HttpCheck, Require
from shipslog.domain.language.compiler import (
    bind,
    check_routable,
    compilations,
    compile_pipeline,
)
from shipslog.domain.language.environment import EnvironmentDocument
from shipslog.domain.language.pipeline import Pipeline
from shipslog.domain.plan import levels
from shipslog.domain.ports import SecretRef
from shipslog.domain.stages import CheckSpec, RunSpec, WaitSpec

from .pipelines import DEPLOY, IN_PYTHON, LINT, VERIFY, WEB, of, plan_of, wait, with_stage


def test_the_contracts_example_compiles() -> None:
    assert levels(plan_of(WEB).stages) == [
        ["build", "lint"],
        ["deploy.snapshot"],
        ["deploy.start"],
        ["deploy.health"],
        ["deploy.switch"],
        ["deploy.monitor"],
        ["verify"],
        ["deploy.retire"],
    ]


def test_the_same_definition_is_compiled_once() -> None:
    document = of(wait("compiled-once"))
    before = compilations()
    first = compile_pipeline(Pipeline.parse(document))
    again = compile_pipeline(Pipeline.parse({**document, "service": "web"}))
    assert again is first
    assert compilations() == before + 1
    compile_pipeline(Pipeline.parse(of(wait("compiled-too"))))
    assert compilations() == before + 2


def test_whoever_writes_it_the_plan_has_one_hash() -> None:
    request = RequestDeployment(pipeline="web", version="1.4.0", environment="staging")
    assert bind(compile_pipeline(IN_PYTHON), request, 1).hash() == plan_of(WEB).hash()


@pytest.mark.parametrize("version", ["1.4.0", "1.4.0+é"])
def test_a_plan_is_hashed_as_rfc_8785_says(version: str) -> None:
    compiled = compile_pipeline(IN_PYTHON)
    request = RequestDeployment(pipeline="web", version="1.4.0", environment="staging")
    plan = structs.replace(bind(compiled, request, 1), version=version)
    spelled = rfc8785.dumps(to_builtins(plan))
    assert plan.hash() == "sha256:" + sha256_hex(spelled)
    assert plan.hash(compiled.spelled) == plan.hash()


def test_a_plan_says_for_whom_it_is() -> None:
    artifact = "web@sha256:" + "0" * 64
    plan = plan_of(WEB, artifact=artifact)
    assert (plan.pipeline, plan.pipeline_version, plan.target) == ("web", 1, "staging/web")
    assert (plan.version, plan.artifact, plan.source) == ("1.4.0", artifact, "/srv/app")
    assert plan.hash() != plan_of(WEB, "1.4.1", artifact).hash()


def test_a_run_is_tried_as_it_says() -> None:
    stage = plan_of(WEB).stage("build")
    assert stage.spec == RunSpec(
        argv=("python", "-m", "compileall", "."), env={"MODE": "fast"}, idempotent=True
    )
    assert (stage.timeout, stage.attempts, stage.backoff) == (120.0, 3, 2.0)


def test_a_run_that_says_nothing_has_ten_minutes_once() -> None:
    stage = plan_of(of(LINT)).stage("lint")
    assert (stage.timeout, stage.attempts) == (600.0, 1)


def test_a_secret_is_planned_as_a_reference() -> None:
    document = with_stage(env={"TOKEN": {"secret": "file:/run/token"}})
    spec = plan_of(document).stage("build").spec
    assert isinstance(spec, RunSpec)
    assert spec.env == {"TOKEN": SecretRef("file:/run/token")}


def test_all_questions_of_a_check_must_be_answered_well() -> None:
    stage = plan_of(of({**VERIFY, "needs": []})).stage("verify")
    policy = HealthPolicy(checks=(HttpCheck("/", 200),), require=Require.HEALTHY)
    assert stage.spec == CheckSpec(policy=policy)
    assert stage.timeout >= policy.attempts * (policy.timeout + policy.interval)


def test_a_wait_has_time_to_wait() -> None:
    stage = plan_of(of({"name": "rest", "wait": "2h"})).stage("rest")
    assert stage.spec == WaitSpec(seconds=7200)
    assert stage.timeout > 7200


@pytest.mark.parametrize("version", ["1.4", "main"])
def test_a_plan_has_a_version_of_its_versioning(version: str) -> None:
    with pytest.raises(InvalidError, match="semantic"):
        plan_of(WEB, version)
    assert plan_of({**WEB, "versioning": "any"}, version).version == version


def test_b80_a_plan_has_no_artifact_by_its_tag() -> None:
    with pytest.raises(DigestRequiredError):
        plan_of(WEB, artifact="web:latest")


def test_a_source_is_absolute_once_it_is_compiled() -> None:
    with pytest.raises(InvalidError) as caught:
        plan_of({**WEB, "source": "./app"})
    assert caught.value.pointer == "/source"


def test_a_strategy_counts_towards_the_500_stages() -> None:
    deploy: dict[str, Any] = {**DEPLOY, "needs": []}
    with pytest.raises(InvalidError, match="500 stages, not 501"):
        plan_of(of(deploy, *(wait(f"s{n}") for n in range(495))))
    assert len(plan_of(of(deploy, *(wait(f"s{n}") for n in range(494)))).stages) == 500


def test_a_definition_fits_into_an_event() -> None:
    with pytest.raises(InvalidError, match="bytes"):
        plan_of(of(*({"name": f"s{n}", "run": ["echo", "x" * 30_000]} for n in range(5))))


def environment(**platform: Any) -> EnvironmentDocument:
    return EnvironmentDocument.parse({"name": "staging", "platform": platform})


def test_a_service_without_a_route_is_refused_when_it_is_requested() -> None:
    check_routable(plan_of(WEB), environment(routes={"web": "127.0.0.1:8100"}))
    check_routable(plan_of(WEB), environment(listen="127.0.0.1:8100"))
    with pytest.raises(InvalidError, match="staging has no route for web"):
        check_routable(plan_of(WEB), environment(routes={"api": "127.0.0.1:8100"}))
    with pytest.raises(InvalidError):
        check_routable(plan_of(WEB), environment(listen="127.0.0.1:8100"), ["api"])


def test_a_check_needs_a_route_and_a_command_needs_none() -> None:
    with pytest.raises(InvalidError):
        check_routable(plan_of(of({**VERIFY, "needs": []})), environment())
    check_routable(plan_of(of(LINT)), environment())
