"""The language: one canonical document, whoever writes it and however it is spelled."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import shipslog
from shipslog import (
    Run,
    Secret,
    Wait,
)
from shipslog.domain.errors import CyclicPlanError, InvalidError
from shipslog.domain.language.fields import basis_points, seconds
from shipslog.domain.language.parsing import addressed, parse
from shipslog.domain.language.pipeline import Pipeline

from .pipelines import BUILD, IN_PYTHON, VERIFY, WEB, of, wait, with_deploy, with_stage


def test_the_contracts_example_is_a_pipeline() -> None:
    assert [stage.name for stage in Pipeline.parse(WEB).stages] == [
        "build",
        "lint",
        "deploy",
        "verify",
    ]


def test_python_and_data_give_one_document_and_one_hash() -> None:
    assert Pipeline.parse(WEB).document() == IN_PYTHON.document()
    assert Pipeline.parse(WEB).sha256() == IN_PYTHON.sha256()


def test_a_document_is_read_back_as_itself() -> None:
    pipeline = Pipeline.parse(WEB)
    again = Pipeline.parse(json.loads(pipeline.canonical))
    assert again == pipeline
    assert again.canonical == pipeline.canonical


def test_defaults_are_filled_in_so_that_saying_them_changes_nothing() -> None:
    short = with_deploy()
    long = with_deploy(
        capacity=1,
        drain="30000ms",
        strategy={"kind": "blue_green", "monitor": "10s", "max_error_share": 500},
        health={"checks": [{"tcp": True}], "require": "degraded"},
        rollback={},
    )
    assert Pipeline.parse(short).sha256() == Pipeline.parse({**long, "service": "web"}).sha256()


def test_a_service_is_named_like_its_pipeline_unless_it_says_so() -> None:
    assert Pipeline.parse(with_stage()).service == "web"
    assert Pipeline.parse({**with_stage(), "service": "api"}).service == "api"


def test_another_order_of_stages_is_another_definition() -> None:
    assert Pipeline.parse(of(wait("a"), wait("b"))) != Pipeline.parse(of(wait("b"), wait("a")))


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError):
        IN_PYTHON.name = "other"


def test_a_wait_may_stand_alone() -> None:
    assert Pipeline(name="web", stages=[Wait(name="rest", wait="90s")]).stages[0].name == "rest"


def test_a_secret_is_kept_as_a_reference() -> None:
    stage = Run(name="build", run=["make"], env={"TOKEN": Secret(secret="env:CI_TOKEN")})
    assert Pipeline(name="web", stages=[stage]) == Pipeline.parse(
        with_stage(env={"TOKEN": {"secret": "env:CI_TOKEN"}})
    )


@pytest.mark.parametrize(
    ("written", "spelled", "length"),
    [
        ("500ms", "500ms", 0.5),
        ("1000ms", "1s", 1.0),
        ("90s", "90s", 90.0),
        ("120s", "2m", 120.0),
        ("60m", "1h", 3600.0),
        ("007s", "7s", 7.0),
    ],
)
def test_a_duration_has_one_spelling(written: str, spelled: str, length: float) -> None:
    stage = Pipeline.parse(with_stage(timeout=written)).document()["stages"][0]
    assert stage["timeout"] == spelled
    assert seconds(spelled) == length


@given(st.integers(1, 24 * 3_600_000))
def test_a_durations_spelling_keeps_its_length(milliseconds: int) -> None:
    stage = Wait(name="rest", wait=f"{milliseconds}ms")
    assert seconds(stage.wait) == milliseconds / 1000
    assert Wait(name="rest", wait=stage.wait) == stage


@given(st.integers(0, 10_000))
def test_a_share_is_the_same_in_percent_and_in_basis_points(points: int) -> None:
    assert basis_points(f"{points // 100}.{points % 100:02}%") == basis_points(points) == points


def test_a_graph_names_what_is_wrong_in_it() -> None:
    with pytest.raises(CyclicPlanError, match=r"a → b → c → a|b → c → a → b|c → a → b → c|a → c"):
        Pipeline.parse(of(wait("a", "c"), wait("b", "a"), wait("c", "b")))


def test_a_pipeline_that_python_builds_wrong_says_so_at_once() -> None:
    with pytest.raises(InvalidError, match="Two stages are named a"):
        Pipeline(name="web", stages=[Wait(name="a", wait="1s"), Wait(name="a", wait="1s")])


def test_a_refusal_lists_every_fault_the_first_one_in_front() -> None:
    document = with_stage(timeout="0s", idempotent="yes", owner=1)
    with pytest.raises(InvalidError) as refused:
        Pipeline.parse(document, "/pipeline")
    assert refused.value.pointer == "/pipeline/stages/0/timeout"
    assert [fault["pointer"] for fault in refused.value.context["errors"]] == [
        "/pipeline/stages/0/timeout",
        "/pipeline/stages/0/idempotent",
        "/pipeline/stages/0/owner",
    ]


def test_a_pointer_escapes_what_json_pointers_escape() -> None:
    with pytest.raises(InvalidError) as refused:
        parse(Pipeline, {**with_stage(), "a/b~c": 1})
    assert refused.value.pointer == "/a~1b~0c"


def test_an_address_supplies_kind_and_name_and_is_not_contradicted() -> None:
    assert addressed({"stages": []}, "Pipeline", "web")["name"] == "web"
    for contradiction in ({"name": "api"}, {"kind": "Environment"}):
        with pytest.raises(InvalidError):
            addressed(contradiction, "Pipeline", "web")


def test_the_face_offers_every_name_it_lists() -> None:
    assert all(getattr(shipslog, name) for name in shipslog.__all__)
    with pytest.raises(AttributeError):
        _ = shipslog.Canary  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "stage",
    [
        {**BUILD, "wait": "1s"},
        {"name": "none"},
        {**VERIFY, "env": {"A": "b"}},
        {**VERIFY, "idempotent": True},
        {"name": "rest", "wait": "1s", "retry": {}},
        {"name": "d", "deploy": {"command": ["serve"]}, "timeout": "1m"},
    ],
)
def test_a_stage_is_of_one_kind_and_says_what_that_kind_knows(stage: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Pipeline.parse(of(stage))
