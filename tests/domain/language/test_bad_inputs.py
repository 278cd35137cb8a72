"""Bad inputs to the language, by their numbers: each is refused, and the pointer leads to it."""

import pytest

from shipslog.domain.errors import (
    CyclicPlanError,
    InvalidCommandError,
    InvalidError,
    NotAvailableError,
)
from shipslog.domain.language.parsing import Json, parse
from shipslog.domain.language.pipeline import Pipeline

from .pipelines import of, wait, with_deploy, with_stage

RUN = "/stages/0/run"
STRATEGY = "/stages/0/deploy/strategy"


def refused(document: Json, pointer: str, kind: type[InvalidError] = InvalidError) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse(Pipeline, document)
    assert caught.value.pointer == pointer
    assert type(caught.value) is kind
    assert len(str(caught.value)) <= 250
    return caught.value


@pytest.mark.parametrize("document", [None, [], "web", 5, True])
def test_b23_what_is_no_object_is_no_document(document: Json) -> None:
    refused(document, "")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (with_stage(run=["echo", "\ud800"]), "/stages/0/run/1"),
        (with_stage(env={"A": "\udfff"}), "/stages/0/env/A"),
        ({**with_stage(), "\ud800": 1}, "/?"),
    ],
)
def test_b24_lone_surrogates_are_refused(document: Json, pointer: str) -> None:
    refused(document, pointer)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({**with_stage(), "name": "we\0b"}, "/name"),
        ({**with_stage(), "source": "/srv\0"}, "/source"),
        (with_stage(env={"A": "b\0"}), "/stages/0/env/A"),
        (with_stage(env={"A\0": "b"}), "/stages/0/env/A\0"),
    ],
)
def test_b25_nul_is_refused(document: Json, pointer: str) -> None:
    refused(document, pointer)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({**with_stage(), "owner": "me"}, "/owner"),
        (with_stage(owner=1), "/stages/0/owner"),
        (with_stage(retry={"attempts": 2, "jitter": 1}), "/stages/0/retry/jitter"),
        (with_deploy(health={"check": []}), "/stages/0/deploy/health/check"),
        (with_stage(env={"A": {"secret": "env:A", "x": 1}}), "/stages/0/env/A/x"),
    ],
)
def test_b26_unknown_fields_are_refused_with_their_path(document: Json, pointer: str) -> None:
    refused(document, pointer)


@pytest.mark.parametrize("share", ["50", True, 50.5, -1, 10_001, "101%", "5 %", "-1%", "", None])
def test_b27_a_share_is_a_percent_text_or_basis_points(share: object) -> None:
    refused(with_deploy(strategy={"max_error_share": share}), f"{STRATEGY}/max_error_share")


def test_b28_too_many_stages_none_cyclic_and_twin_names() -> None:
    refused(of(*(wait(f"s{n}") for n in range(501))), "/stages")
    refused(of(), "/stages")
    refused(of(wait("a", "b"), wait("b", "a")), "/stages", CyclicPlanError)
    refused(of(wait("a"), wait("a")), "/stages/1/name")
    refused(of(wait("a", "gone")), "/stages/0/needs")


def test_b28_five_hundred_stages_are_taken() -> None:
    assert len(Pipeline.parse(of(*(wait(f"s{n}") for n in range(500)))).stages) == 500


def test_a_second_deploy_stage_is_refused() -> None:
    first, second = (with_deploy()["stages"][0] for _ in range(2))
    refused(of(first, {**second, "name": "again"}), "/stages/1/deploy")


@pytest.mark.parametrize(
    "timeout", [0, -1, 10**12, 120, 1.5, True, "0s", "-1s", f"{10**12}s", "25h", "1.5h", "2 m", "m"]
)
def test_b29_a_timeout_is_a_duration_within_bounds(timeout: object) -> None:
    refused(with_stage(timeout=timeout), "/stages/0/timeout")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (with_stage(retry={"attempts": 0}), "/stages/0/retry/attempts"),
        (with_stage(retry={"attempts": True}), "/stages/0/retry/attempts"),
        (with_stage(retry={"attempts": "3"}), "/stages/0/retry/attempts"),
        (with_stage(retry={"backoff": "11m"}), "/stages/0/retry/backoff"),
        (with_stage(idempotent=1), "/stages/0/idempotent"),
        (with_deploy(capacity=0), "/stages/0/deploy/capacity"),
        (with_deploy(capacity="no"), "/stages/0/deploy/capacity"),
        (with_deploy(drain="2h"), "/stages/0/deploy/drain"),
        (with_deploy(health={"checks": []}), "/stages/0/deploy/health/checks"),
        (with_deploy(health={"checks": [{}]}), "/stages/0/deploy/health/checks/0"),
        (with_deploy(health={"checks": [{"tcp": 0}]}), "/stages/0/deploy/health/checks/0/tcp"),
        (with_deploy(health={"checks": [{"http": "x"}]}), "/stages/0/deploy/health/checks/0/http"),
        (
            with_deploy(health={"checks": [{"http": "/ HTTP/1.1\r\nX: y"}]}),
            "/stages/0/deploy/health/checks/0/http",
        ),
    ],
)
def test_other_values_of_the_wrong_type_or_size_are_refused(document: Json, pointer: str) -> None:
    refused(document, pointer)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("pr\u043ed", id="B31 Cyrillic"),
        pytest.param("PROD", id="B32 capitals"),
        pytest.param("pr\u200bod", id="B33 zero-width"),
        pytest.param("\uff50rod", id="B33 full-width"),
        pytest.param("caf\u0065\u0301", id="B33 NFD"),
        pytest.param("\u202edorp", id="B34 right-to-left override"),
        pytest.param("../x", id="B35 parent"),
        pytest.param("a/b", id="B35 slash"),
        pytest.param(".", id="B35 dot"),
        pytest.param("-rf", id="B35 option"),
        pytest.param("", id="B35 empty"),
        pytest.param("a" * 300, id="B35 long"),
        pytest.param("a" * 64, id="B35 one too long"),
        pytest.param("\x1b[31mred", id="B36 ANSI escape"),
        pytest.param("web\n", id="B36 newline"),
        pytest.param("deploy.switch", id="a strategy's own"),
        pytest.param(7, id="no text"),
    ],
)
def test_b31_to_b36_names(name: Json) -> None:
    refused({**with_stage(), "name": name}, "/name")
    refused({**with_stage(), "service": name}, "/service")
    refused(with_stage(name=name), "/stages/0/name")
    refused(with_stage(needs=[name]), "/stages/0/needs/0")


def test_a_name_may_have_63_characters() -> None:
    assert Pipeline.parse({**with_stage(), "name": "a" * 63}).name == "a" * 63


@pytest.mark.parametrize("command", ["deploy; rm -rf /", None, 5, {"sh": "-c"}, []])
def test_b101_a_command_is_a_list_of_arguments(command: object) -> None:
    refused(with_stage(run=command), RUN, InvalidCommandError)
    refused(with_deploy(command=command), "/stages/0/deploy/command", InvalidCommandError)


@pytest.mark.parametrize(
    "program",
    ["bin/run", "./run", "../run", "..", "/usr/../bin/run", "", "{workspace}/../x", "{version}/x"],
)
def test_b102_a_program_is_a_bare_name_or_an_absolute_path(program: str) -> None:
    refused(with_stage(run=[program]), f"{RUN}/0", InvalidCommandError)


@pytest.mark.parametrize("program", ["make", "/usr/bin/make", "{workspace}/venv/bin/serve"])
def test_a_program_by_name_by_path_and_in_the_workspace(program: str) -> None:
    Pipeline.parse(with_stage(run=[program]))


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "BASH_FUNC_x",
        "NODE_OPTIONS",
        "SHIPSLOG_FENCE",
        "SHIPSLOG_TOKEN",
    ],
)
def test_b103_variables_that_change_the_program_are_not_set(name: str) -> None:
    refused(with_stage(env={name: "x"}), f"/stages/0/env/{name}", InvalidCommandError)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "Ä"])
def test_a_variable_has_a_variables_name(name: str) -> None:
    refused(with_stage(env={name: "x"}), f"/stages/0/env/{name}")


@pytest.mark.parametrize("program", ["-rf", "--help", "{workspace}/-x/../y", "{workspace}"])
def test_b105_a_program_is_no_option_and_no_folder(program: str) -> None:
    refused(with_stage(run=[program]), f"{RUN}/0", InvalidCommandError)


def test_b106_an_argument_holds_no_nul() -> None:
    refused(with_stage(run=["echo", "a\0b"]), f"{RUN}/1", InvalidCommandError)


def test_b107_arguments_are_kept_byte_for_byte() -> None:
    odd = ["echo", "$(id)", "`id`", "{{7*7}}", "%s%n", "a b", "", "\n", "é", "{unknown}"]
    assert Pipeline.parse(with_stage(run=odd)).document()["stages"][0]["run"] == odd


@pytest.mark.parametrize(
    "reference",
    ["token", "env:", "env:A-B", "env:SHIPSLOG_TOKEN", "file:secret", "file:/a/../b", "vault:x", 5],
)
def test_a_secret_is_a_reference_to_a_variable_or_a_file(reference: object) -> None:
    refused(with_stage(env={"A": {"secret": reference}}), "/stages/0/env/A/secret")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (with_deploy(strategy={"kind": "canary", "steps": []}), f"{STRATEGY}/kind"),
        (with_deploy(strategy={"kind": "rolling"}), f"{STRATEGY}/kind"),
        (with_deploy(strategy={"kind": "recreate"}), f"{STRATEGY}/kind"),
        (with_deploy(rollback={"user": "gradual"}), "/stages/0/deploy/rollback/user"),
        (
            with_deploy(rollback={"degradation": "controlled"}),
            "/stages/0/deploy/rollback/degradation",
        ),
        (of({"name": "ask", "approve": {"by": 2}}), "/stages/0/approve"),
    ],
)
def test_what_is_not_built_is_not_available(document: Json, pointer: str) -> None:
    assert refused(document, pointer, NotAvailableError).slug == "not-available"


def test_what_never_existed_is_invalid() -> None:
    refused(with_deploy(strategy={"kind": "magic"}), f"{STRATEGY}/kind")
    refused(with_deploy(rollback={"user": "never"}), "/stages/0/deploy/rollback/user")
