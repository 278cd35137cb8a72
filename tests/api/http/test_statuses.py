# pyright: reportPrivateUsage=false
"""Status reads on their short way: never older than what the reader was told, and still refused."""

import asyncio
from itertools import count

import pytest
from aiohttp import web

from shipslog.api.ready.front import Front
from shipslog.api.ready.written import Written
from shipslog.domain.access import Role
from shipslog.domain.deployment import Deployment, stream_of

from .served import Served

WRITERS, READERS, ROUNDS = 3, 6, 40


async def test_no_reader_sees_less_than_the_position_they_were_given(defined: Served) -> None:
    made = [await defined.deploy() for _ in range(WRITERS)]
    told = {document["id"]: document["position"] for document in made}
    ended = asyncio.Event()
    shown = count()

    async def write(deployment: str) -> None:
        for attempt in range(1, ROUNDS):
            event = Deployment.StageStarted(stage="build", attempt=attempt)
            told[deployment] = await defined.record(stream_of(deployment), event)

    async def read(number: int) -> None:
        deployment = list(told)[number % WRITERS]
        while not ended.is_set():
            position = told[deployment]
            headers = {"Ledger-Position": str(position)} if number % 2 else {}
            answer = await defined.get(f"/v1/deployments/{deployment}", headers=headers)
            assert answer.status == 200
            assert answer.json["position"] >= position
            next(shown)

    readers = [asyncio.create_task(read(number)) for number in range(READERS)]
    await asyncio.gather(*map(write, told))
    ended.set()
    await asyncio.gather(*readers)
    assert next(shown) > READERS


async def test_a_position_that_is_not_visible_yet_is_waited_for(defined: Served) -> None:
    document = await defined.deploy()
    path = document["links"]["self"]
    await defined.get(path)
    position = await defined.services.log.head() + 1
    asked = asyncio.create_task(defined.get(path, headers={"Ledger-Position": str(position)}))
    await defined.get("/healthz")
    assert not asked.done()
    event = Deployment.StageStarted(stage="build", attempt=1)
    assert await defined.record(stream_of(document["id"]), event) == position
    assert (await asked).json["position"] == position


@pytest.fixture
async def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request so far went the short way."""
    went: list[bool] = []
    answer = Front._answer

    async def noted(self: Front, request: web.BaseRequest) -> Written | None:
        answered = await answer(self, request)
        went.append(answered is not None)
        return answered

    monkeypatch.setattr(Front, "_answer", noted)
    return went


async def test_both_ways_give_the_same_answer(defined: Served, ways: list[bool]) -> None:
    path = (await defined.deploy())["links"]["self"]
    await defined.get("/v1/events")
    ways.clear()
    short = await defined.get(path)
    long = await defined.get(path, headers={"Accept": "application/json, */*;q=0.1"})
    assert ways == [True, False]
    assert (short.status, short.body) == (long.status, long.body)
    leave = {"Date"}
    assert {k: v for k, v in short.headers.items() if k not in leave} == {
        k: v for k, v in long.headers.items() if k not in leave
    }
    known = {"If-None-Match": short.headers["ETag"]}
    short = await defined.get(path, headers=known)
    long = await defined.get(path, headers=known | {"Accept": "application/json, */*;q=0.1"})
    assert ways == [True, False, True, False]
    assert (short.status, short.body) == (long.status, long.body) == (304, b"")
    assert set(short.headers) == set(long.headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"If-Match": '"other"'}, 412, id="condition"),
        pytest.param({"Accept": "image/png"}, 406, id="media"),
        pytest.param({"Ledger-Position": "soon"}, 400, id="position"),
        pytest.param({"Authorization": "Bearer slp_wrong"}, 401, id="token"),
        pytest.param({"Expect": "luck"}, 417, id="expectation"),
    ],
)
async def test_what_is_refused_goes_the_long_way(
    defined: Served, ways: list[bool], headers: dict[str, str], status: int
) -> None:
    path = (await defined.deploy())["links"]["self"]
    assert (await defined.get(path)).status == 200
    ways.clear()
    answer = await defined.get(path, headers=headers)
    assert answer.status == status
    assert answer.slug
    assert ways == [False]


async def test_a_status_is_counted_and_logged_whichever_way(defined: Served) -> None:
    path = (await defined.deploy())["links"]["self"]
    for accept in ("*/*", "application/json, */*;q=0.1"):
        await defined.get(path, headers={"Accept": accept})
    short, long = [line for line in defined.logged() if line.get("path") == path]
    assert short.keys() == long.keys()
    text = (await defined.get("/metrics")).body.decode()
    assert 'route="/v1/deployments/{id}",status="200"} 2.0' in text


async def test_a_revoked_token_reads_nothing_more(defined: Served) -> None:
    path = (await defined.deploy())["links"]["self"]
    made = (await defined.post("/v1/tokens", {"subject": "eve", "role": "viewer"})).json
    sent = {"Authorization": f"Bearer {made['token']}"}
    for _ in range(2):
        assert (await defined.get(path, role=None, headers=sent)).status == 200
    assert (await defined.ask("DELETE", f"/v1/tokens/{made['id']}")).status == 204
    assert (await defined.get(path, role=None, headers=sent)).status == 401


async def test_an_erased_name_is_shown_no_more(
    defined: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (await defined.deploy(reason="for Bob"))["links"]["self"]
    assert (await defined.get(path)).json["requested_by"] == "user:admin"
    await defined.store.directory.erase(defined.subjects[Role.ADMIN])
    monkeypatch.setattr("shipslog.api.ready.statuses.ERASURE_SECONDS", -1.0)
    document = (await defined.get(path, role=Role.VIEWER)).json
    assert (document["requested_by"], document["reason"]) == (None, None)
