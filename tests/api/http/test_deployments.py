"""Deployments over HTTP: asked for, repeated, listed, seen as they stood, acted upon."""

import asyncio
from typing import Any

import pytest

from shipslog.domain.access import Role
from shipslog.domain.deployment import Deployment, stream_of
from shipslog.domain.health import HealthPolicy
from shipslog.domain.target import Revision, Serving, Target

from .served import ENVIRONMENT, REQUEST, Served

DEPLOY = {
    "name": "deploy",
    "deploy": {
        "command": ["serve", "{port}"],
        "health": {"checks": [{"http": "/healthz", "expect": 200}]},
    },
}
UNKNOWN = "0199a000-0000-7000-8000-000000000000"


async def finish(served: Served, deployment: str, ending: type[Deployment.Ended]) -> int:
    return await served.record(
        stream_of(deployment), Deployment.Started(), ending(outcome_kind="decided")
    )


async def test_a_request_is_accepted_with_where_it_stands(defined: Served) -> None:
    answer = await defined.post("/v1/deployments", REQUEST | {"reason": "try it"})
    document = answer.json
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/deployments/{document['id']}"
    position = answer.headers["Ledger-Position"]
    read = await defined.get(answer.headers["Location"], headers={"Ledger-Position": position})
    assert read.json == document
    assert (document["status"], document["requested_by"]) == ("requested", "user:admin")
    assert (document["reason"], document["current_stage"], document["total_stages"]) == (
        "try it",
        0,
        1,
    )


async def test_a_preview_writes_nothing(defined: Served) -> None:
    before = defined.fingerprint()
    answer = await defined.post("/v1/deployments?validate_only=true", REQUEST)
    assert answer.status == 200
    assert answer.json["plan"]["stages"][0]["name"] == "build"
    assert answer.json["plan_hash"].startswith("sha256:")
    assert answer.json["waiting_on"] == []
    wrong = await defined.post("/v1/deployments?validate_only=true", REQUEST | {"version": "1"})
    assert wrong.status == 422
    assert defined.fingerprint() == before
    await defined.deploy()
    held = await defined.post("/v1/deployments?validate_only=true", REQUEST)
    assert held.json["waiting_on"][0]["kind"] == "target"


@pytest.mark.parametrize(
    ("wrong", "slug", "pointer"),
    [
        ({"pipeline": "none"}, "unknown-reference", "/pipeline"),
        ({"environment": "none"}, "unknown-reference", "/environment"),
        ({"version": "latest"}, "invalid", "/version"),
        ({"version": "' OR 1=1--"}, "invalid", "/version"),
        ({"artifact": "web:latest"}, "digest-required", "/artifact"),
        ({"artifact": "web@sha1:" + "0" * 40}, "invalid", "/artifact"),
        ({"artifact": "web@sha256:" + "A" * 64}, "invalid", "/artifact"),
        ({"artifact": "web@sha256:" + "0" * 63}, "invalid", "/artifact"),
        ({"inputs": {"a": "b"}}, "not-available", "/inputs"),
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    defined: Served, wrong: dict[str, Any], slug: str, pointer: str
) -> None:
    before = defined.fingerprint()
    answer = await defined.post("/v1/deployments", REQUEST | wrong)
    assert (answer.status, answer.slug) == (422, slug)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert defined.fingerprint() == before


async def test_b72_the_same_key_asks_once_however_often(defined: Served) -> None:
    key = {"Idempotency-Key": "deploy-1"}
    asked = [defined.post("/v1/deployments", REQUEST, headers=key) for _ in range(200)]
    answers = await asyncio.gather(*asked)
    told = {
        (a.status, a.body, a.headers["Location"], a.headers["Ledger-Position"]) for a in answers
    }
    assert len(told) == 1
    assert len((await defined.get("/v1/deployments")).json["items"]) == 1
    await finish(defined, answers[0].json["id"], Deployment.Succeeded)
    late = await defined.post("/v1/deployments", REQUEST, headers=key)
    assert (late.body, late.headers["ETag"]) == (answers[0].body, answers[0].headers["ETag"])
    assert late.headers["Idempotent-Replayed"] == "true"


async def test_b73_the_same_key_with_another_body_is_a_mistake(defined: Served) -> None:
    key = {"Idempotency-Key": "deploy-1"}
    made = (await defined.post("/v1/deployments", REQUEST, headers=key)).json["id"]
    before = defined.fingerprint()
    for path, body in (
        ("/v1/deployments", REQUEST | {"version": "2.0.0"}),
        ("/v1/deployments", REQUEST | {"reason": "x"}),
        (f"/v1/deployments/{made}/abort", {}),
    ):
        answer = await defined.post(path, body, headers=key)
        assert (answer.status, answer.slug) == (422, "idempotency-mismatch")
    assert defined.fingerprint() == before


async def test_a_key_belongs_to_its_caller(defined: Served) -> None:
    key = {"Idempotency-Key": "deploy-1"}
    one = await defined.post("/v1/deployments", REQUEST, headers=key)
    other = await defined.post("/v1/deployments", REQUEST, headers=key, role=Role.DEPLOYER)
    assert one.json["id"] != other.json["id"]
    unkeyed = [await defined.deploy(), await defined.deploy()]
    assert unkeyed[0]["id"] != unkeyed[1]["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "caf\u00e9"])
async def test_a_key_is_short_and_plain(defined: Served, key: str) -> None:
    before = defined.fingerprint()
    answer = await defined.post("/v1/deployments", REQUEST, headers={"Idempotency-Key": key})
    assert (answer.status, answer.slug) == (400, "malformed-header")
    assert defined.fingerprint() == before


async def test_b76_a_held_target_is_busy_under_refuse(defined: Served) -> None:
    refuse = ENVIRONMENT | {"concurrency": "refuse"}
    await defined.put("/v1/environments/staging", refuse, headers={"If-Match": '"1"'})
    first = await defined.deploy()
    before = defined.fingerprint()
    answer = await defined.post("/v1/deployments", REQUEST)
    assert (answer.status, answer.slug) == (409, "target-busy")
    assert answer.json["holder"] == first["id"]
    assert defined.fingerprint() == before


async def test_a_second_one_queues_and_says_behind_whom(defined: Served) -> None:
    first = await defined.deploy()
    second = await defined.deploy()
    assert (second["status"], second["behind"]) == ("queued", first["id"])
    assert second["waiting_on"]


async def test_a_limit_says_when_to_come_back(defined: Served) -> None:
    limited = ENVIRONMENT | {"limits": {"per_hour": 1}}
    await defined.put("/v1/environments/staging", limited, headers={"If-Match": '"1"'})
    await defined.deploy()
    answer = await defined.post("/v1/deployments", REQUEST)
    assert (answer.status, answer.slug) == (429, "limit-reached")
    assert int(answer.headers["Retry-After"]) > 0


async def test_lists_are_newest_first_filtered_and_paged(defined: Served) -> None:
    made = [(await defined.deploy(version=f"1.0.{n}"))["id"] for n in range(5)]
    await finish(defined, made[0], Deployment.Failed)
    listed = (await defined.get("/v1/deployments")).json["items"]
    assert [item["id"] for item in listed] == made[::-1]
    for query, found in (
        ("environment=staging&service=web&pipeline=web", 5),
        ("status=queued", 4),
        ("status=failed", 1),
        ("actor=user:admin", 5),
        (f"actor={defined.subjects[Role.ADMIN]}", 5),
        ("actor=user:viewer", 0),
        ("actor=user:nobody", 0),
        ("environment=other", 0),
        ("since=2020-01-01T00:00:00Z", 5),
        ("until=2020-01-01T00:00:00%2B02:00", 0),
    ):
        assert len((await defined.get(f"/v1/deployments?{query}")).json["items"]) == found, query
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await defined.get(f"/v1/deployments?limit=2{cursor}")).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}" if page["next"] else None
    assert seen == made[::-1]


async def test_as_of_gives_what_was_served_then(defined: Served) -> None:
    path = f"/v1/deployments/{(await defined.deploy())['id']}"
    served: dict[int, bytes] = {}
    instants: dict[str, bytes] = {}
    for events in (
        (Deployment.Started(),),
        (Deployment.StageStarted(stage="build", attempt=1),),
        (Deployment.StageFinished(stage="build", attempt=1, outcome="succeeded"),),
        (Deployment.Succeeded(outcome_kind="decided"),),
    ):
        position = await defined.record(stream_of(path.rpartition("/")[2]), *events)
        served[position] = (await defined.get(path)).body
        instants[defined.clock.now().isoformat()] = served[position]
    for position, body in served.items():
        assert (await defined.get(f"{path}?as_of={position}")).body == body
    for instant, body in instants.items():
        assert (await defined.get(path + "?as_of=" + instant.replace("+", "%2B"))).body == body
    assert (await defined.get(f"{path}?as_of=1")).status == 404
    head = max(served)
    for beyond in (str(head + 1), "2099-01-01T00:00:00Z"):
        answer = await defined.get(f"{path}?as_of={beyond}")
        assert (answer.status, answer.slug) == (422, "invalid")
        assert answer.json["errors"][0]["parameter"] == "as_of"


async def test_what_a_stage_printed_is_read_by_attempt(defined: Served) -> None:
    deployment = (await defined.deploy())["id"]
    stream = stream_of(deployment)
    await defined.record(stream, Deployment.Started())
    for attempt, printed in ((1, b"first\xff"), (2, b"<script>")):
        digest = await defined.services.blobs.put(printed)
        await defined.record(
            stream,
            Deployment.StageStarted(stage="build", attempt=attempt),
            Deployment.StageFinished(
                stage="build", attempt=attempt, outcome="failed", output=digest
            ),
        )
    path = f"/v1/deployments/{deployment}/stages/build/output"
    answer = await defined.get(path, headers={"Accept": "text/plain"})
    assert answer.body == b"<script>"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (await defined.get(f"{path}?attempt=1")).body == b"first\xff"
    assert (await defined.get(f"{path}?attempt=3")).status == 404
    assert (await defined.get(path.replace("build", "none"))).status == 404


async def test_a_stage_that_printed_nothing_has_an_empty_output(defined: Served) -> None:
    deployment = (await defined.deploy())["id"]
    path = f"/v1/deployments/{deployment}/stages/build/output"
    started = Deployment.StageStarted(stage="build", attempt=1)
    await defined.record(stream_of(deployment), Deployment.Started(), started)
    assert (await defined.get(path)).status == 404
    ended = Deployment.StageFinished(stage="build", attempt=1, outcome="succeeded")
    await defined.record(stream_of(deployment), ended)
    answer = await defined.get(path)
    assert (answer.status, answer.body) == (200, b"")


async def test_an_abort_is_accepted_again_and_again_until_it_is_over(defined: Served) -> None:
    path = f"/v1/deployments/{(await defined.deploy())['id']}"
    first = await defined.post(f"{path}/abort", {"reason": "no"})
    before = defined.fingerprint()
    again = await defined.post(f"{path}/abort", {})
    assert (first.status, again.status) == (202, 202)
    assert defined.fingerprint() == before
    await finish(defined, path.rpartition("/")[2], Deployment.Aborted)
    before = defined.fingerprint()
    late = await defined.post(f"{path}/abort", {})
    assert (late.status, late.slug) == (409, "state-conflict")
    assert (late.json["state"], late.json["legal_actions"]) == ("aborted", ["retry"])
    assert defined.fingerprint() == before


KEY = {"Idempotency-Key": "again"}


async def test_what_nobody_can_know_is_tried_again_by_a_retry(defined: Served) -> None:
    made = (await defined.deploy())["id"]
    path, stream = f"/v1/deployments/{made}", stream_of(made)
    await defined.record(
        stream,
        Deployment.Started(),
        Deployment.StageStarted(stage="build", attempt=1),
        Deployment.StageFinished(stage="build", attempt=1, outcome="errored", message="?"),
        Deployment.OperatorNeeded(stage="build", attempt=1, message="?"),
    )
    status = (await defined.get(path)).json
    assert (status["status"], status["stages"][0]["is_unknown"]) == ("needs_operator", True)
    assert [wait["kind"] for wait in status["waiting_on"]] == ["operator"]
    refused = await defined.post(f"{path}/resume", {})
    assert refused.json["legal_actions"] == ["retry", "abort", "rollback"]
    answer = await defined.post(f"{path}/retry", {"reason": "looked"}, headers=KEY)
    assert (answer.status, answer.json["id"], answer.json["status"]) == (202, made, "running")
    assert answer.headers["Location"] == path
    event = (await defined.get(f"{path}/events")).json["items"][-1]
    assert (event["topic"], event["payload"]) == (
        "deployment.retry_requested",
        {"reason": "looked"},
    )
    again = await defined.post(f"{path}/retry", {"reason": "looked"}, headers=KEY)
    assert (again.status, again.json["position"]) == (202, answer.json["position"])
    late = await defined.post(f"{path}/retry", {})
    assert (late.status, late.json["legal_actions"]) == (409, ["abort", "rollback"])


async def test_a_retry_of_a_finished_one_is_a_new_one(defined: Served) -> None:
    old = (await defined.deploy())["id"]
    early = await defined.post(f"/v1/deployments/{old}/retry", {})
    assert (early.status, early.slug) == (409, "state-conflict")
    await finish(defined, old, Deployment.Failed)
    key = {"Idempotency-Key": "again"}
    answer = await defined.post(f"/v1/deployments/{old}/retry", {}, headers=key)
    assert (answer.status, answer.json["retry_of"]) == (202, old)
    assert answer.headers["Location"] == f"/v1/deployments/{answer.json['id']}"
    assert (await defined.post(f"/v1/deployments/{old}/retry", {}, headers=key)).json == answer.json


async def test_b77_there_is_nothing_to_roll_back_to(defined: Served) -> None:
    old = (await defined.deploy())["id"]
    await finish(defined, old, Deployment.Succeeded)
    before = defined.fingerprint()
    answer = await defined.post(f"/v1/deployments/{old}/rollback", {})
    assert (answer.status, answer.slug) == (409, "state-conflict")
    assert defined.fingerprint() == before


async def test_b78_what_no_state_allows_is_a_conflict(defined: Served) -> None:
    path = f"/v1/deployments/{(await defined.deploy())['id']}"
    before = defined.fingerprint()
    for action in ("approve", "reject", "resume", "promote", "skip"):
        answer = await defined.post(f"{path}/{action}", {"reason": "please"})
        assert (answer.status, answer.slug) == (409, "state-conflict")
        assert answer.json["legal_actions"] == ["abort", "rollback"]
    answer = await defined.post(f"{path}/pause", {})
    assert (answer.status, answer.slug) == (422, "not-available")
    assert (await defined.post(f"{path}/abort", {"plan_hash": "x"})).status == 422
    assert (await defined.post(f"{path}/explode", {})).status == 404
    assert defined.fingerprint() == before


async def test_an_action_honours_the_etag_it_is_sent_with(defined: Served) -> None:
    path = f"/v1/deployments/{(await defined.deploy())['id']}"
    tag = (await defined.get(path)).headers["ETag"]
    answer = await defined.post(f"{path}/abort", {}, headers={"If-Match": '"old"'})
    assert (answer.status, answer.slug) == (412, "precondition-failed")
    assert (await defined.post(f"{path}/abort", {}, headers={"If-Match": tag})).status == 202


async def test_history_is_shown_with_its_people(defined: Served) -> None:
    made = (await defined.deploy(reason="=HYPERLINK(1)"))["id"]
    await finish(defined, made, Deployment.Succeeded)
    entry = (await defined.get("/v1/history/staging/web")).json["items"][0]
    assert (entry["deployment"], entry["status"]) == (made, "succeeded")
    assert (entry["requested_by"], entry["reason"]) == ("user:admin", "=HYPERLINK(1)")


async def test_an_erased_person_is_null_everywhere(defined: Served) -> None:
    answer = await defined.post(
        "/v1/deployments", REQUEST | {"reason": "personal"}, role=Role.DEPLOYER
    )
    path = answer.headers["Location"]
    await defined.store.directory.erase(defined.subjects[Role.DEPLOYER])
    shown = (await defined.get(path)).json
    assert (shown["requested_by"], shown["reason"]) == (None, None)
    event = (await defined.get(f"{path}/events")).json["items"][0]
    assert (event["actor"]["name"], event["payload"]["reason"]) == (None, None)
    entry = (await defined.get("/v1/history/staging/web")).json["items"][0]
    assert (entry["requested_by"], entry["reason"]) == (None, None)


async def test_targets_say_who_holds_them_now_and_then(defined: Served) -> None:
    made = await defined.deploy()
    target = (await defined.get("/v1/targets/staging/web")).json
    assert (target["holder"], target["version"]) == (made["id"], None)
    listed = (await defined.get("/v1/targets?environment=staging")).json["items"]
    assert listed == [target]
    then = await defined.get("/v1/targets/staging/web?as_of=2")
    assert then.status == 404
    assert (await defined.get("/v1/targets?as_of=2")).json["items"] == []
    now = await defined.get(f"/v1/targets/staging/web?as_of={target['position']}")
    assert now.json == target


async def release(served: Served, deployment: str, revision: str) -> None:
    """Let a deployment bring its revision live, succeed and let go, as a worker would."""
    brought = Revision(
        id=revision,
        version="1.0.0",
        deployment=deployment,
        workspace=deployment,
        argv=("serve",),
        capacity=1,
        values={},
        policy=HealthPolicy(checks=()),
    )
    serving = Serving(listen="127.0.0.1:1", weights={revision: 10_000}, live=revision)
    await served.record(
        "target:staging/web",
        Target.RevisionStarted(deployment=deployment, revision=brought, instances=()),
        Target.Routed(deployment=deployment, serving=serving),
    )
    await finish(served, deployment, Deployment.Succeeded)
    await served.record(
        "target:staging/web",
        Target.Released(deployment=deployment, ending="succeeded", healthy=revision),
    )


async def test_a_rollback_of_a_finished_one_is_a_new_one_linked_both_ways(served: Served) -> None:
    await served.put("/v1/environments/staging", {"platform": {"listen": "127.0.0.1:8100"}})
    await served.put("/v1/pipelines/web", {"stages": [DEPLOY]})
    made = [(await served.deploy(version=version))["id"] for version in ("1.0.0", "1.0.1")]
    await release(served, made[0], "r1")
    await release(served, made[1], "r2")
    path = f"/v1/deployments/{made[1]}"
    answer = await served.post(f"{path}/rollback", {"reason": "worse"})
    assert (answer.status, answer.json["rollback_of"]) == (202, made[1])
    assert answer.json["version"] == "1.0.0"
    assert (await served.get(path)).json["rolled_back_by"] == answer.json["id"]


async def test_a_status_shows_what_its_target_serves_as_soon_as_it_does(defined: Served) -> None:
    made = (await defined.deploy())["id"]
    path = f"/v1/deployments/{made}"
    before = await defined.get(path)
    assert (await defined.get(path)).body == before.body
    await release(defined, made, "r1")
    after = await defined.get(path)
    assert after.json["live"] == {"revision": "r1", "version": "1.0.0"}
    assert after.json["status"] == "succeeded"
    assert after.headers["ETag"] != before.headers["ETag"]
    target = (await defined.get("/v1/targets/staging/web")).json
    assert (target["version"], target["deployment"], target["holder"]) == ("1.0.0", made, None)
    then = await defined.get(f"{path}?as_of={before.json['position']}")
    assert then.body == before.body
    await defined.post("/v1/views/rebuild", {})
    assert (await defined.get(path)).body == after.body


async def test_an_answer_is_the_status_as_of_its_position_of_whatever_is_live(
    defined: Served,
) -> None:
    await release(defined, (await defined.deploy())["id"], "r1")
    request = {"pipeline": "web", "version": "1.0.1", "environment": "staging"}
    for _ in range(2):  # the second one stands in line
        answer = await defined.post("/v1/deployments", request)
        assert answer.json["live"] == {"revision": "r1", "version": "1.0.0"}
        path = f"{answer.headers['Location']}?as_of={answer.headers['Ledger-Position']}"
        assert (await defined.get(path)).body == answer.body


async def test_a_read_waits_until_it_can_see_or_says_that_it_cannot(defined: Served) -> None:
    head = {"Ledger-Position": str(await defined.services.log.head())}
    assert (await defined.get("/v1/deployments", headers=head)).status == 200
    for wrong in ("x", "-1", "1.0", "9" * 30):
        answer = await defined.get("/v1/deployments", headers={"Ledger-Position": wrong})
        assert (answer.status, answer.slug) == (400, "malformed-header")
    assert UNKNOWN not in (await defined.get("/v1/deployments")).body.decode()
