"""Queries that must not be understood as more than they say, by the numbers of the fault list."""

import base64

import pytest

from .served import Served

LISTS = (
    "/v1/deployments",
    "/v1/environments",
    "/v1/pipelines",
    "/v1/targets",
    "/v1/events",
    "/v1/history/staging/web",
)


@pytest.mark.parametrize("value", ["' OR 1=1--", "%", "_", "\\", "web%", "we_", "*", "(a+)+$"])
@pytest.mark.parametrize("name", ["environment", "service", "pipeline", "actor"])
async def test_b115_a_filter_is_taken_literally(defined: Served, name: str, value: str) -> None:
    await defined.deploy()
    answer = await defined.ask("GET", "/v1/deployments", params={name: value})
    assert (answer.status, answer.json["items"]) == (200, [])


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("sort=;drop", id="B116"),
        pytest.param("tenant=other", id="B48-unknown-filter"),
        pytest.param("offset=10", id="unknown"),
        pytest.param("limit=1000000000", id="B117-too-many"),
        pytest.param("limit=-1", id="B117-negative"),
        pytest.param("limit=0", id="B117-none"),
        pytest.param("limit=1e3", id="B117-exponent"),
        pytest.param("limit=%2B5", id="B117-plus"),
        pytest.param("limit=\u0665", id="B117-other-digits"),
        pytest.param("limit=", id="B117-empty"),
        pytest.param("limit=5&limit=6", id="twice"),
    ],
)
async def test_a_list_takes_what_it_names_and_no_more(defined: Served, query: str) -> None:
    await defined.deploy()
    before = defined.fingerprint()
    for path in LISTS:
        answer = await defined.get(f"{path}?{query}")
        assert (answer.status, answer.slug) == (422, "invalid"), path
        assert answer.json["errors"][0]["parameter"] == query.partition("=")[0]
    assert defined.fingerprint() == before


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "status=%27",
        "since=yesterday",
        "since=2026-01-01",
        "since=2026-01-01T00:00:00",
        "until=2026-13-01T00:00:00Z",
        "environment=" + "x" * 201,
        "environment=%00",
        "environment=",
    ],
)
async def test_a_filter_has_its_form(defined: Served, query: str) -> None:
    answer = await defined.get(f"/v1/deployments?{query}")
    assert (answer.status, answer.slug) == (422, "invalid")
    assert len(answer.body) < 1000


@pytest.mark.parametrize(
    "query", ["topic=(a%2B)%2B$", "topic=x", "stream=.*", "stream=web", "after=x"]
)
async def test_b120_no_pattern_is_a_pattern(defined: Served, query: str) -> None:
    answer = await defined.get(f"/v1/events?{query}")
    assert (answer.status, answer.slug) == (422, "invalid")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%00",
        "AAAA",
        base64.urlsafe_b64encode(b'["targets",1]').decode(),
        base64.urlsafe_b64encode(b'["deployments","x"]').decode(),
        base64.urlsafe_b64encode(b'{"deployments":1}').decode(),
        base64.urlsafe_b64encode(b'["deployments",99999999999999999999]').decode(),
    ],
)
async def test_b118_a_forged_cursor_is_malformed(defined: Served, cursor: str) -> None:
    for path in LISTS:
        if path == "/v1/targets" and "InRhcmdldHMi" in cursor:
            continue
        answer = await defined.get(f"{path}?cursor={cursor.replace('=', '%3D')}")
        if cursor == "%00":
            assert answer.status == 422
            continue
        assert (answer.status, answer.slug) == (400, "malformed-cursor"), path


async def test_an_unknown_parameter_is_refused_everywhere(defined: Served) -> None:
    before = defined.fingerprint()
    for method, path in (
        ("GET", "/healthz"),
        ("GET", "/v1/deployments/x"),
        ("GET", "/v1/environments/staging"),
        ("PUT", "/v1/environments/staging"),
        ("POST", "/v1/deployments"),
        ("POST", "/v1/deployments/x/abort"),
        ("POST", "/v1/views/rebuild"),
    ):
        answer = await defined.ask(method, f"{path}?surprise=1", json={})
        assert (answer.status, answer.slug) == (422, "invalid"), path
    wrong = await defined.post("/v1/deployments?validate_only=yes", {})
    assert wrong.json["errors"][0]["parameter"] == "validate_only"
    assert defined.fingerprint() == before


async def test_what_is_echoed_is_short(defined: Served) -> None:
    long = "x" * 3000
    for path in (f"/v1/deployments?{long}=1", f"/v1/deployments/{long}", f"/v1/{long}"):
        answer = await defined.get(path)
        assert answer.status in {404, 422}
        assert "x" * 201 not in answer.body.decode()
