"""The document of an environment: what it takes, what it refuses, where a service is reached."""

from typing import Any

import pytest

from shipslog import Environment, Limits, Processes
from shipslog.domain.errors import InvalidError, NotAvailableError
from shipslog.domain.language.environment import EnvironmentDocument
from shipslog.domain.language.kinds import parse_document

from .pipelines import WEB

STAGING: dict[str, Any] = {
    "kind": "Environment",
    "name": "staging",
    "platform": {"kind": "processes", "routes": {"web": "127.0.0.1:8100"}},
    "history_limit": 50,
    "approvals": {"required": 0},
    "windows": [],
    "freezes": [],
    "limits": {"per_hour": 60, "concurrent": 4},
    "concurrency": "queue",
}


def refused(pointer: str, kind: type[InvalidError] = InvalidError, **fields: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        EnvironmentDocument.parse({"name": "staging", **fields})
    assert caught.value.pointer == pointer
    assert type(caught.value) is kind


def test_python_and_data_give_one_document() -> None:
    in_python = Environment(
        name="staging",
        platform=Processes(routes={"web": "127.0.0.1:8100"}),
        limits=Limits(per_hour=60, concurrent=4),
    )
    parsed = EnvironmentDocument.parse(STAGING)
    assert parsed.document() == in_python.document()
    assert EnvironmentDocument.parse(parsed.document()) == parsed


def test_a_name_is_all_an_environment_needs() -> None:
    environment = EnvironmentDocument.parse({"name": "staging"})
    assert environment.limits.per_hour is None
    assert environment.platform.kind == "processes"
    assert environment.address_of("web") is None


def test_a_documents_kind_says_what_it_is() -> None:
    assert isinstance(parse_document(STAGING), EnvironmentDocument)
    assert not isinstance(parse_document(WEB), EnvironmentDocument)
    for kind in ({}, {"kind": "environment"}, {"kind": ["Pipeline"]}):
        with pytest.raises(InvalidError) as caught:
            parse_document(kind)
        assert caught.value.pointer == "/kind"


def test_a_route_belongs_to_its_service() -> None:
    environment = EnvironmentDocument.parse(STAGING)
    assert environment.address_of("web", ["api"]) == "127.0.0.1:8100"
    assert environment.address_of("api") is None


def test_the_short_form_serves_one_service() -> None:
    environment = EnvironmentDocument.parse(
        {"name": "staging", "platform": {"listen": "127.0.0.1:8100"}}
    )
    assert environment.address_of("web") == "127.0.0.1:8100"
    assert environment.address_of("web", ["web"]) == "127.0.0.1:8100"
    assert environment.address_of("api", ["web"]) is None


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8100", "localhost:1", "[::1]:65535", "a-b.example.org:80", "0.0.0.0:80"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    environment = EnvironmentDocument.parse({"name": "s", "platform": {"listen": address}})
    assert environment.platform.listen == address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        ":80",
        "localhost:0",
        "localhost:65536",
        "localhost:08",
        "::1:80",
        "[::1:80",
        "[::g]:80",
        "-a:80",
        "a_b:80",
        "http://a:80",
        "a:80\n",
        "a:80/",
        "",
        8100,
    ],
)
def test_what_is_no_address_is_refused(address: object) -> None:
    refused("/platform/listen", platform={"listen": address})
    refused("/platform/routes/web", platform={"routes": {"web": address}})


def test_routes_do_not_meet() -> None:
    refused("/platform/routes/b", platform={"routes": {"a": "h:1", "b": "h:1"}})
    refused("/platform/listen", platform={"routes": {"a": "h:1"}, "listen": "h:2"})


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/approvals/required", {"approvals": {"required": 1}}),
        ("/windows", {"windows": [{"days": "Mon"}]}),
        ("/freezes", {"freezes": [{"until": "Mon"}]}),
        ("/platform/kind", {"platform": {"kind": "kubernetes", "context": "prod"}}),
        ("/platform/kind", {"platform": {"kind": "haproxy"}}),
    ],
)
def test_what_is_not_built_is_not_available(pointer: str, fields: dict[str, Any]) -> None:
    refused(pointer, NotAvailableError, **fields)


@pytest.mark.parametrize(
    ("pointer", "fields"),
    [
        ("/approvals/required", {"approvals": {"required": -1}}),
        ("/approvals/required", {"approvals": {"required": False}}),
        ("/windows", {"windows": "always"}),
        ("/platform/kind", {"platform": {"kind": "magic"}}),
        ("/history_limit", {"history_limit": 0}),
        ("/history_limit", {"history_limit": 10_001}),
        ("/history_limit", {"history_limit": "50"}),
        ("/limits/per_hour", {"limits": {"per_hour": 100_001}}),
        ("/limits/per_hour", {"limits": {"per_hour": 0}}),
        ("/limits/concurrent", {"limits": {"concurrent": 1001}}),
        ("/limits/per_day", {"limits": {"per_day": 1}}),
        ("/concurrency", {"concurrency": "supersede"}),
        ("/owner", {"owner": "me"}),
        ("/platform/path/0", {"platform": {"path": ["bin"]}}),
        ("/platform/path/0", {"platform": {"path": ["/bin:/sbin"]}}),
        ("/platform/path/0", {"platform": {"path": ["/usr/../bin"]}}),
        ("/platform/inherit/0", {"platform": {"inherit": ["A B"]}}),
        ("/platform/routes/We b", {"platform": {"routes": {"We b": "h:1"}}}),
    ],
)
def test_wrong_values_are_refused_with_their_path(pointer: str, fields: dict[str, Any]) -> None:
    refused(pointer, **fields)


def test_b103_what_changes_programs_is_not_inherited() -> None:
    with pytest.raises(InvalidError) as caught:
        EnvironmentDocument.parse({"name": "s", "platform": {"inherit": ["LD_PRELOAD"]}})
    assert caught.value.slug == "invalid-command"
