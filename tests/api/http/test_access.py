"""Who may ask for what: tokens, roles, sources that guess, and the tokens' own routes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shipslog.api.routes import ROUTES
from shipslog.api.server import UndeclaredRouteError, check_declared
from shipslog.api.services import Limits
from shipslog.api.wire.accept import JSON
from shipslog.api.wire.endpoint import Call, Gives, Open, Route
from shipslog.domain.access import Permission, Role

from .served import PIPELINE, REQUEST, Served, serve

ACTIONS = ("abort", "rollback", "retry", "approve", "reject", "pause", "resume", "promote", "skip")
OPEN = {"/healthz", "/readyz", "/openapi.json"}


def address(path: str) -> str:
    return path.replace("{", "").replace("}", "")


async def test_i48_only_three_routes_are_open(served: Served) -> None:
    assert {route.path for route in ROUTES if isinstance(route.needs, Open)} == OPEN
    for route in ROUTES:
        answer = await served.ask(route.method, address(route.path), role=None, json={})
        assert (answer.status == 401) is (route.path not in OPEN)


async def test_b51_a_role_may_do_what_it_grants_and_no_more(defined: Served) -> None:
    for route in ROUTES:
        if isinstance(route.needs, Open) or route.path == "/v1/tokens/{id}":
            continue
        for role in Role:
            answer = await defined.ask(route.method, address(route.path), role=role, json={})
            may = route.needs in role.permissions
            assert (answer.status != 403) is may, (route.path, role)
            if not may:
                assert answer.slug == "forbidden"
                assert answer.json["permission"] == route.needs.value


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        pytest.param("POST", "/v1/deployments", Role.VIEWER, id="B51-viewer-deploys"),
        pytest.param("POST", "/v1/deployments", Role.AUDITOR, id="B51-auditor-deploys"),
        pytest.param("POST", "/v1/views/rebuild", Role.DEPLOYER, id="B54-deployer-rebuilds"),
        pytest.param("PUT", "/v1/environments/staging", Role.DEPLOYER, id="B54-deployer-defines"),
        pytest.param("PUT", "/v1/pipelines/web", Role.DEPLOYER, id="B54-deployer-writes-pipeline"),
        pytest.param("POST", "/v1/tokens", Role.OPERATOR, id="operator-makes-tokens"),
        pytest.param("GET", "/metrics", Role.DEPLOYER, id="deployer-reads-metrics"),
    ],
)
async def test_a_refused_role_leaves_nothing(
    defined: Served, method: str, path: str, role: Role
) -> None:
    before = defined.fingerprint()
    answer = await defined.ask(method, path, role=role, json=REQUEST)
    assert (answer.status, answer.slug) == (403, "forbidden")
    assert defined.fingerprint() == before


def headers(**named: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in named.items()}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({}, id="B40-none"),
        pytest.param(headers(Authorization="garbage"), id="B40-garbage"),
        pytest.param(headers(Authorization="Bearer "), id="B40-empty"),
        pytest.param(headers(Authorization="Basic dXNlcjpwYXNz"), id="B40-basic"),
        pytest.param(headers(Authorization="Bearer slp_" + "0" * 36), id="B40-unknown"),
        pytest.param(headers(Authorization="Bearer slp_" + "é" * 36), id="B40-not-ascii"),
        pytest.param(headers(Authorization="Bearer slp_" + "0" * 5000), id="B40-endless"),
        pytest.param(
            headers(Authorization="Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."), id="B42-none"
        ),
        pytest.param(
            headers(Authorization="Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uLyJ9.e30.AAAA"),
            id="B42-kid",
        ),
        pytest.param(headers(X_Tenant="other"), id="B47-tenant"),
    ],
)
async def test_without_a_valid_token_nobody_is_known(served: Served, sent: dict[str, str]) -> None:
    before = served.fingerprint()
    answer = await served.get("/v1/deployments", role=None, headers=sent)
    assert (answer.status, answer.slug) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert served.fingerprint() == before


async def test_b43_a_token_in_the_query_is_none_and_is_not_logged(served: Served) -> None:
    token = served.tokens[Role.ADMIN]
    for name in ("token", "access_token"):
        answer = await served.get(f"/v1/deployments?{name}={token}", role=None)
        assert answer.status == 401
        answer = await served.get(f"/v1/deployments?{name}={token}")
        assert answer.status == 422
        assert token not in answer.body.decode()
    assert token not in served.log.getvalue().decode()


async def test_b44_two_authorizations_are_one_too_many(served: Served) -> None:
    token = f"Bearer {served.tokens[Role.ADMIN]}"
    both: Any = [("Authorization", token), ("Authorization", token)]
    async with served.session.get("/v1/deployments", headers=both) as response:
        assert response.status == 400
        assert (await response.json(content_type=None))["type"].endswith(":malformed-header")


async def test_b45_a_source_that_guesses_is_told_to_wait(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(bad_tokens=5)) as served:
        wrong = headers(Authorization="Bearer slp_wrong")
        answers = [await served.get("/v1/events", role=None, headers=wrong) for _ in range(7)]
        assert [answer.status for answer in answers] == [401] * 5 + [429] * 2
        assert answers[-1].slug == "rate-limited"
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
        assert (await served.get("/v1/events")).status == 200
        served.clock.ahead += timedelta(seconds=60)
        assert (await served.get("/v1/events", role=None, headers=wrong)).status == 401


async def test_a_token_is_made_out_used_listed_and_revoked(defined: Served) -> None:
    wanted = {"subject": "alice", "role": "deployer"}
    made = await defined.post("/v1/tokens", wanted)
    assert made.status == 201
    assert made.json["subject"] == "user:alice"
    sent = headers(Authorization=f"Bearer {made.json['token']}")
    answer = await defined.post("/v1/deployments", REQUEST, role=None, headers=sent)
    assert (answer.status, answer.json["requested_by"]) == (202, "user:alice")
    listed = (await defined.get("/v1/tokens")).body.decode()
    assert made.json["id"] in listed
    assert made.json["token"] not in listed
    assert (await defined.ask("DELETE", f"/v1/tokens/{made.json['id']}")).status == 204
    assert (await defined.get("/v1/events", role=None, headers=sent)).status == 401
    assert (await defined.ask("DELETE", f"/v1/tokens/{made.json['id']}")).status == 404


async def test_b41_an_expired_token_is_none(served: Served) -> None:
    ends = (served.clock.now() + timedelta(hours=1)).isoformat()
    wanted = {"subject": "service:ci", "role": "viewer", "expires_at": ends}
    made = await served.post("/v1/tokens", wanted)
    assert made.json["subject"] == "service:ci"
    sent = headers(Authorization=f"Bearer {made.json['token']}")
    assert (await served.get("/v1/events", role=None, headers=sent)).status == 200
    served.clock.ahead += timedelta(hours=1)
    assert (await served.get("/v1/events", role=None, headers=sent)).status == 401


async def test_two_tokens_of_one_subject_are_one_person(defined: Served) -> None:
    keys = headers(Idempotency_Key="one")
    ids = set[str]()
    for _ in range(2):
        made = await defined.post("/v1/tokens", {"subject": "bob", "role": "deployer"})
        sent = keys | headers(Authorization=f"Bearer {made.json['token']}")
        answer = await defined.post("/v1/deployments", REQUEST, role=None, headers=sent)
        ids.add(answer.json["id"])
    assert len(ids) == 1


async def test_a_token_is_made_out_once_for_a_key(served: Served) -> None:
    wanted = {"subject": "alice", "role": "viewer"}
    key = headers(Idempotency_Key="k")
    first = await served.post("/v1/tokens", wanted, headers=key)
    again = await served.post("/v1/tokens", wanted, headers=key)
    assert again.json == first.json
    other = await served.post("/v1/tokens", wanted | {"role": "admin"}, headers=key)
    assert (other.status, other.slug) == (422, "idempotency-mismatch")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": "system:shipslog"},
        {"subject": "user:"},
        {"subject": "a b"},
        {"subject": "a\u202eb"},
        {"role": "root"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"scopes": []},
    ],
)
async def test_a_wrong_token_is_not_made(served: Served, wrong: dict[str, Any]) -> None:
    before = served.fingerprint()
    answer = await served.post("/v1/tokens", {"subject": "alice", "role": "viewer"} | wrong)
    assert (answer.status, answer.slug) == (422, "invalid")
    assert answer.json["errors"][0]["pointer"] == f"/{next(iter(wrong))}"
    assert served.fingerprint() == before


async def test_b46_an_unknown_thing_answers_alike_everywhere(defined: Served) -> None:
    for path in (
        "/v1/deployments/0199a000-0000-7000-8000-000000000000",
        "/v1/deployments/x/events",
        "/v1/deployments/x/stages/build/output",
        "/v1/environments/none",
        "/v1/pipelines/none",
        "/v1/pipelines/web?version=9",
        "/v1/targets/staging/none",
        "/v1/history/staging/none",
    ):
        answer = await defined.get(path)
        assert (answer.status, answer.slug) == (404, "not-found"), path
    before = defined.fingerprint()
    for action in ACTIONS:
        answer = await defined.post(f"/v1/deployments/x/{action}", {})
        assert (answer.status, answer.slug) == (404, "not-found"), action
    assert (await defined.put("/v1/pipelines/none", PIPELINE | {"x": 1})).status == 422
    assert defined.fingerprint() == before


async def _nothing(_call: Call) -> web.StreamResponse:
    return web.Response()


def test_i48_a_route_without_a_permission_cannot_be_made() -> None:
    undeclared: Any = None
    with pytest.raises(TypeError, match="/v1/new"):
        Route(
            method="GET",
            path="/v1/new",
            needs=undeclared,
            answer=_nothing,
            gives=(Gives(200, None, JSON),),
        )


def test_i48_a_route_beside_the_table_is_refused_at_the_start() -> None:
    app = web.Application()

    async def back_door(_request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/back-door", back_door)
    with pytest.raises(UndeclaredRouteError):
        check_declared(app, [])
    assert Permission.LEDGER_READ in Role.VIEWER.permissions
