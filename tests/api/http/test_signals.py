"""What the server says about itself: its log, its metrics, its probes, its own document."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from shipslog.api import problems
from shipslog.api.routes import ROUTES
from shipslog.api.services import Limits
from shipslog.domain.access import Role
from shipslog.domain.errors import BrokenError, LedgerError, NotYetVisibleError

from .served import REQUEST, Served, serve


async def test_every_request_is_one_line(defined: Served) -> None:
    defined.log.truncate(0)
    defined.log.seek(0)
    await defined.get("/v1/deployments")
    await defined.get("/v1/nothing")
    first, second = defined.logged()
    assert (first["event"], first["method"], first["path"]) == (
        "request",
        "GET",
        "/v1/deployments",
    )
    assert (first["status"], second["status"]) == (200, 404)
    assert second["instance"].startswith("urn:uuid:")


async def test_a_problem_is_found_in_the_log_by_its_instance(served: Served) -> None:
    answer = await served.get("/v1/deployments/x")
    instance = answer.json["instance"]
    assert [line for line in served.logged() if line.get("instance") == instance]


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param('x\n{"event": "request", "status": 200, "path": "/forged"}', id="B37-newline"),
        pytest.param("x\r\x1b[2J\x85\u2028forged", id="B37-controls"),
        pytest.param("=HYPERLINK(1)", id="B38-formula"),
        pytest.param("<script>alert(1)</script>", id="B39-script"),
    ],
)
async def test_a_reason_is_stored_as_it_is_and_forges_nothing(defined: Served, reason: str) -> None:
    made = await defined.deploy(reason=reason)
    assert made["reason"] == reason
    assert b"forged" not in defined.log.getvalue()


async def test_b37_a_path_cannot_forge_a_line(served: Served) -> None:
    path = "/v1/x%0a%7b%22event%22:%22forged%22%7d%C2%85%1b%5b2J%7f"
    assert (await served.get(path)).status == 404
    raw = served.log.getvalue()
    lines = raw.splitlines()
    assert len(lines) == len(served.logged())
    assert all(json.loads(line)["event"] != "forged" for line in lines)
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in raw)


async def test_i44_a_token_is_nowhere_in_the_log(defined: Served) -> None:
    token = defined.tokens[Role.ADMIN]
    await defined.get(f"/v1/deployments/{token}")
    await defined.get(f"/v1/deployments?actor={token}")
    await defined.post("/v1/deployments", REQUEST | {"version": token})
    assert token.encode() not in defined.log.getvalue()


async def test_a_fault_of_ours_shows_nothing_of_itself(
    defined: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        message = "a detail from within"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("shipslog.api.ready.statuses._standing", broken)
    answer = await defined.get("/v1/deployments/x")
    assert (answer.status, answer.slug) == (500, "internal")
    assert b"within" not in answer.body
    fault = next(line for line in defined.logged() if line["event"] == "fault")
    assert fault["instance"] == answer.json["instance"]
    assert "a detail from within" in fault["exception"]


async def test_metrics_count_requests_and_deployments(defined: Served) -> None:
    made = await defined.deploy()
    await defined.deploy()
    await defined.get(f"/v1/deployments/{made['id']}")
    answer = await defined.get("/metrics", role=Role.AUDITOR)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    text = answer.body.decode()
    for line in (
        'shipslog_http_requests_total{method="GET",route="/v1/deployments/{id}",status="200"} 1.0',
        'shipslog_deployments{status="queued"} 1.0',
        'shipslog_deployments{status="requested"} 1.0',
        "shipslog_events_total 7.0",
        "shipslog_follower_lag_events 0.0",
    ):
        assert line in text.splitlines(), text
    assert made["id"] not in text


async def test_two_servers_do_not_count_together(tmp_path: Path) -> None:
    async with serve(tmp_path / "one") as one, serve(tmp_path / "other") as other:
        await one.get("/healthz")
        assert b'route="/healthz"' not in (await other.get("/metrics")).body


async def test_probes_say_alive_and_ready(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
            answer = await served.get(path, role=None)
            assert (answer.status, answer.json["status"]) == (200, status)
            head = await served.ask("HEAD", path, role=None)
            assert (head.status, head.body) == (200, b"")


async def test_a_server_whose_store_is_broken_is_not_ready(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(served.store), "broken", BrokenError("no more"))
    answer = await served.get("/readyz", role=None)
    assert (answer.status, answer.json["checks"]["store"]) == (503, "broken")
    assert (await served.get("/healthz", role=None)).status == 200


async def test_a_read_beyond_the_head_is_not_yet_visible(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(visible_seconds=0.05)) as served:
        answer = await served.get("/v1/deployments", headers={"Ledger-Position": "1"})
        assert (answer.status, answer.slug) == (504, "not-yet-visible")
        assert answer.json["position"] == 1


async def test_read_models_are_rebuilt_to_the_same(defined: Served) -> None:
    made = await defined.deploy()
    before = defined.fingerprint()
    answer = await defined.post("/v1/views/rebuild", {})
    assert (answer.status, answer.json["position"]) == (200, 4)
    part = await defined.post("/v1/views/rebuild", {"stream": f"deployment:{made['id']}"})
    assert part.status == 200
    assert defined.fingerprint() == before
    assert (await defined.post("/v1/views/rebuild", {"stream": "x"})).status == 422
    assert (await defined.post("/v1/views/rebuild", {"stream": "target:a/b"})).status == 404


async def test_the_openapi_document_is_one_and_names_every_route(served: Served) -> None:
    answer = await served.get("/openapi.json", role=None)
    promise: Any = answer.json
    validate(promise)
    named = {
        (method.upper(), path)
        for path, operations in promise["paths"].items()
        for method in operations
    }
    assert named == {(str(route.method), route.path) for route in ROUTES}
    names = [
        operation["operationId"]
        for operations in promise["paths"].values()
        for operation in operations.values()
    ]
    assert len(set(names)) == len(names)
    assert all(
        operation["summary"] and operation["responses"]
        for operations in promise["paths"].values()
        for operation in operations.values()
    )


def every_error(kind: type[LedgerError] = LedgerError) -> list[type[LedgerError]]:
    return [kind, *(sub for one in kind.__subclasses__() for sub in every_error(one))]


def test_every_error_has_a_status_and_a_document() -> None:
    for kind in every_error():
        error = LedgerError.__new__(kind)
        LedgerError.__init__(error, "x" * 1000, position=3, status="running")
        error.__dict__.setdefault("pointer", "")
        answer = problems.of_error(error, "urn:uuid:x")
        assert isinstance(answer.body, bytes)
        document = msgspec.json.decode(answer.body)
        assert document["status"] == problems.status_of(error)
        assert len(document["detail"]) <= 200
    assert problems.status_of(NotYetVisibleError(position=1)) == 504
