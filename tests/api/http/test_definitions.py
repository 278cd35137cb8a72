"""Environments and pipelines over HTTP: stored, conditionally changed, read in every version."""

import asyncio
from typing import Any

import pytest

from shipslog.domain.access import Role

from .served import ENVIRONMENT, PIPELINE, Served


async def test_what_is_put_is_what_is_read(served: Served) -> None:
    for path, document in (
        ("/v1/environments/staging", ENVIRONMENT),
        ("/v1/pipelines/web", PIPELINE),
    ):
        made = await served.put(path, document)
        assert (made.status, made.headers["Location"]) == (201, path)
        assert made.headers["ETag"] == '"1"'
        position = made.headers["Ledger-Position"]
        read = await served.get(path, headers={"Ledger-Position": position})
        assert (read.status, read.json, read.headers["ETag"]) == (200, made.json, '"1"')
        assert read.json["name"] == path.rpartition("/")[2]
        again = await served.put(path, read.json, headers={"If-Match": '"1"'})
        assert (again.status, again.json, again.headers["ETag"]) == (200, read.json, '"1"')


@pytest.mark.parametrize(
    ("condition", "status", "slug"),
    [
        pytest.param(None, 428, "precondition-required", id="B74-none"),
        pytest.param('"7"', 412, "precondition-failed", id="B75-another"),
        pytest.param('W/"1"', 412, "precondition-failed", id="B75-weak"),
        pytest.param("1", 412, "precondition-failed", id="B75-unquoted"),
        pytest.param('"1', 412, "precondition-failed", id="B75-half"),
    ],
)
async def test_changing_what_exists_needs_its_etag(
    defined: Served, condition: str | None, status: int, slug: str
) -> None:
    before = defined.fingerprint()
    headers = {"If-Match": condition} if condition else {}
    for path, document in (
        ("/v1/environments/staging", ENVIRONMENT | {"history_limit": 3}),
        ("/v1/pipelines/web", PIPELINE | {"versioning": "any"}),
    ):
        answer = await defined.put(path, document, headers=headers)
        assert (answer.status, answer.slug) == (status, slug)
    assert defined.fingerprint() == before


async def test_b75_an_old_etag_no_longer_helps(defined: Served) -> None:
    path = "/v1/environments/staging"
    changed = await defined.put(
        path, ENVIRONMENT | {"history_limit": 3}, headers={"If-Match": '"1"'}
    )
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    late = await defined.put(path, ENVIRONMENT | {"history_limit": 4}, headers={"If-Match": '"1"'})
    assert late.status == 412
    any_of_them = {"If-Match": '"7", "2"'}
    assert (await defined.put(path, ENVIRONMENT, headers=any_of_them)).status == 200
    assert (await defined.put(path, ENVIRONMENT, headers={"If-Match": "*"})).status == 200


async def test_a_condition_on_what_does_not_exist_fails(served: Served) -> None:
    for condition in ('"1"', "*"):
        answer = await served.put("/v1/pipelines/web", PIPELINE, headers={"If-Match": condition})
        assert answer.status == 412


async def test_deployments_do_not_move_an_environments_etag(defined: Served) -> None:
    limited = ENVIRONMENT | {"limits": {"per_hour": 5}}
    path = "/v1/environments/staging"
    changed = await defined.put(path, limited, headers={"If-Match": '"1"'})
    await defined.deploy()
    read = await defined.get(path)
    assert read.headers["ETag"] == changed.headers["ETag"]
    again = await defined.put(path, ENVIRONMENT, headers={"If-Match": read.headers["ETag"]})
    assert again.status == 200


async def test_every_version_of_a_pipeline_is_kept(defined: Served) -> None:
    path = "/v1/pipelines/web"
    await defined.put(path, PIPELINE | {"versioning": "any"}, headers={"If-Match": '"1"'})
    newest = await defined.get(path)
    assert (newest.json["versioning"], newest.headers["ETag"]) == ("any", '"2"')
    first = await defined.get(f"{path}?version=1")
    assert (first.json["versioning"], first.headers["ETag"]) == ("semver", '"1"')
    assert (await defined.get(f"{path}?version=3")).status == 404
    assert (await defined.get(f"{path}?version=0")).status == 422


async def test_lists_are_by_name_and_paged(served: Served) -> None:
    for name in ("b", "c", "a"):
        await served.put(f"/v1/environments/{name}", {})
    first = await served.get("/v1/environments?limit=2")
    assert [item["name"] for item in first.json["items"]] == ["a", "b"]
    rest = await served.get(f"/v1/environments?limit=2&cursor={first.json['next']}")
    assert [item["name"] for item in rest.json["items"]] == ["c"]
    assert rest.json["next"] is None
    item = rest.json["items"][0]
    assert (item["version"], item["defined_by"]) == (1, "user:admin")
    assert item["document"]["kind"] == "Environment"


async def test_an_etag_saves_the_answer(defined: Served) -> None:
    for path in ("/v1/environments/staging", "/v1/pipelines", "/openapi.json", "/v1/events"):
        tag = (await defined.get(path)).headers["ETag"]
        assert not tag.startswith("W/")
        for condition in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            answer = await defined.get(path, headers={"If-None-Match": condition})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == tag
        assert (await defined.get(path, headers={"If-None-Match": '"x"'})).status == 200
        assert (await defined.get(path, headers={"If-Match": '"x"'})).status == 412


NOT_BUILT: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/environments/staging", {"approvals": {"required": 1}}, "/approvals/required"),
    ("/v1/environments/staging", {"windows": [{}]}, "/windows"),
    ("/v1/environments/staging", {"platform": {"kind": "kubernetes"}}, "/platform/kind"),
    ("/v1/pipelines/web", {"stages": [{"name": "ok", "approve": {}}]}, "/stages/0/approve"),
]


@pytest.mark.parametrize(("path", "document", "pointer"), NOT_BUILT)
async def test_what_is_not_built_is_not_ignored(
    served: Served, path: str, document: dict[str, Any], pointer: str
) -> None:
    before = served.fingerprint()
    answer = await served.put(path, document)
    assert (answer.status, answer.slug) == (422, "not-available")
    assert answer.json["errors"][0]["pointer"] == pointer
    assert served.fingerprint() == before


async def test_a_put_with_a_key_is_answered_alike(served: Served) -> None:
    headers = {"Idempotency-Key": "put-1"}
    first = await served.put("/v1/pipelines/web", PIPELINE, headers=headers)
    again = await served.put("/v1/pipelines/web", PIPELINE, headers=headers)
    assert (again.status, again.json) == (first.status, first.json) == (201, first.json)
    for name in ("Ledger-Position", "Location", "ETag"):
        assert again.headers[name] == first.headers[name]
    same = {"Idempotency-Key": "put-2", "If-Match": '"1"'}
    for _ in range(2):
        unchanged = await served.put("/v1/pipelines/web", PIPELINE, headers=same)
        assert unchanged.status == 200
        assert "Location" not in unchanged.headers


async def test_a_put_that_comes_many_times_at_once_is_not_refused_for_itself(
    served: Served,
) -> None:
    headers = {"Idempotency-Key": "put-1"}
    coming = (served.put("/v1/pipelines/web", PIPELINE, headers=headers) for _ in range(20))
    answers = await asyncio.gather(*coming)
    told = {(a.status, a.headers["Ledger-Position"], a.headers["ETag"]) for a in answers}
    assert told == {(201, "1", '"1"')}


async def test_an_operator_may_define(served: Served) -> None:
    answer = await served.put("/v1/environments/staging", {}, role=Role.OPERATOR)
    assert answer.status == 201
