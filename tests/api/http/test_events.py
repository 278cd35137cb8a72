"""The log over HTTP: page by page, and as a stream that resumes without loss or repeat."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from shipslog.api.services import Limits
from shipslog.domain.access import Role
from shipslog.domain.deployment import Deployment, stream_of
from shipslog.domain.event import Recorded

from .served import REQUEST, Json, Served, serve

STREAM = {"Accept": "text/event-stream"}


class Sent(dict[str, str]):
    """One frame of an event stream, by its fields."""

    @property
    def event(self) -> Json:
        return msgspec.json.decode(self["data"])


@asynccontextmanager
async def streaming(
    served: Served, path: str = "/v1/events", **headers: str
) -> AsyncGenerator[aiohttp.ClientResponse]:
    sent = STREAM | {"Authorization": f"Bearer {served.tokens[Role.VIEWER]}"} | headers
    async with served.session.get(path, headers=sent) as response:
        yield response


async def frames(response: aiohttp.ClientResponse, count: int) -> list[Sent]:
    """Return the next so many events; heartbeats are left out."""
    found: list[Sent] = []
    frame = Sent()
    async with asyncio.timeout(10):
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\r\n")
            name, colon, value = line.partition(": ")
            if colon and name:
                frame[name] = value
            elif not line and frame:
                found.append(frame)
                frame = Sent()
    return found


async def test_the_log_is_read_page_by_page(defined: Served) -> None:
    for _ in range(3):
        await defined.deploy()
    seen: list[dict[str, Any]] = []
    after = "0"
    while after is not None:
        page = (await defined.get(f"/v1/events?limit=2&after={after}")).json
        seen += page["items"]
        after = page["next"]
    head = await defined.services.log.head()
    assert [event["position"] for event in seen] == list(range(1, head + 1))
    everything = (await defined.get("/v1/events?limit=1000")).json
    assert everything == {"items": seen, "next": None}
    by_cursor = (await defined.get("/v1/events?limit=1000&cursor=2")).json
    assert by_cursor["items"] == seen[2:]


async def test_an_event_says_who_and_why(defined: Served) -> None:
    made = await defined.deploy(reason="because")
    requested, held = (await defined.get("/v1/events?after=2")).json["items"]
    assert requested["topic"] == "deployment.requested"
    assert requested["actor"] == {
        "kind": "user",
        "id": defined.subjects[Role.ADMIN],
        "name": "admin",
    }
    assert requested["payload"]["reason"] == "because"
    assert "salt" not in requested["payload"]
    assert requested["causation"] is None
    assert (held["topic"], held["stream"]) == ("target.held", "target:staging/web")
    assert held["causation"] == requested["position"]
    assert held["deployment"] == requested["correlation"] == made["id"]
    alone = (await defined.get("/v1/events?after=3")).json["items"]
    assert alone == [held]


async def test_the_log_is_filtered_by_topic_and_stream(defined: Served) -> None:
    made = await defined.deploy()
    await defined.deploy()
    for query, topics in (
        ("topic=target.queued", ["target.queued"]),
        ("topic=deployment.requested&limit=1", ["deployment.requested"]),
        ("stream=environment:staging", ["environment.defined"]),
        (f"stream=deployment:{made['id']}", ["deployment.requested"]),
        ("topic=deployment.nothing", []),
        ("stream=target:staging/none", []),
    ):
        page = (await defined.get(f"/v1/events?{query}")).json
        assert [event["topic"] for event in page["items"]] == topics, query
    first = (await defined.get("/v1/events?topic=deployment.requested&limit=1")).json
    rest = (await defined.get(f"/v1/events?topic=deployment.requested&after={first['next']}")).json
    assert len(rest["items"]) == 1
    assert rest["next"] is None


async def test_a_stream_begins_now_and_goes_on(defined: Served) -> None:
    async with streaming(defined) as response:
        assert response.status == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        made = await defined.deploy()
        first, second = await frames(response, 2)
    assert (first["id"], first["event"]) == ("3", "deployment.requested")
    assert first.event["deployment"] == made["id"]
    assert (second["id"], second["event"]) == ("4", "target.held")


async def test_i38_a_stream_resumes_without_loss_or_repeat(defined: Served) -> None:
    async with streaming(defined, "/v1/events?after=0") as response:
        seen = [frame["id"] for frame in await frames(response, 2)]
    made = (await defined.deploy())["id"]
    for _ in range(20):
        await defined.record(stream_of(made), Deployment.AbortRequested())
    for count in (3, 1, 15):
        headers = {"Last-Event-ID": seen[-1]}
        async with streaming(defined, "/v1/events?after=0", **headers) as response:
            seen += [frame["id"] for frame in await frames(response, count)]
    assert seen == [str(position) for position in range(1, 22)]


async def test_a_filtered_stream_sends_what_is_wanted(defined: Served) -> None:
    async with streaming(defined, "/v1/events?topic=target.held&after=0") as response:
        await defined.deploy()
        (held,) = await frames(response, 1)
    assert held["event"] == "target.held"


async def test_what_a_filtered_stream_begins_with_is_looked_up_and_not_searched(
    defined: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = [(await defined.deploy())["id"] for _ in range(2)]
    for _ in range(5):
        await defined.record(stream_of(other), *[Deployment.AbortRequested()] * 100)
        await defined.record(stream_of(first), *[Deployment.AbortRequested()] * 20)
    log, read = defined.services.log, 0
    page = log.page

    async def counted(*, after: int, limit: int) -> Sequence[Recorded]:
        nonlocal read
        found = await page(after=after, limit=limit)
        read += len(found)
        return found

    monkeypatch.setattr(log, "page", counted)
    async with streaming(defined, f"/v1/events?stream={stream_of(first)}&after=0") as response:
        seen = await frames(response, 101)
        await defined.record(stream_of(other), Deployment.AbortRequested())
        await defined.record(stream_of(first), Deployment.Started())
        seen += await frames(response, 1)
    events = (await defined.get(f"/v1/deployments/{first}/events")).json["items"]
    assert [frame["id"] for frame in seen] == [str(event["position"]) for event in events]
    # Those of the stream, and what has come meanwhile; the read models read it too.
    assert read < 101 + 10


@pytest.mark.parametrize("wrong", ["abc", "-1", "1.0", "9" * 30, "4"])
async def test_b119_no_stream_begins_where_the_log_is_not(defined: Served, wrong: str) -> None:
    answer = await defined.get("/v1/events", headers=STREAM | {"Last-Event-ID": wrong})
    assert (answer.status, answer.slug) == (400, "malformed-header")


async def test_a_page_is_no_stream(defined: Served) -> None:
    for query in ("limit=5", "cursor=1"):
        answer = await defined.get(f"/v1/events?{query}", headers=STREAM)
        assert answer.status == 422
    assert (await defined.get("/v1/events?cursor=x")).status == 400


async def test_a_quiet_stream_is_heard(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, Limits(heartbeat_seconds=0.05)) as served,
        streaming(served) as response,
        asyncio.timeout(10),
    ):
        assert (await response.content.readline()).startswith(b": ping")


async def test_a_stream_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(streams=1)) as served, streaming(served):
        answer = await served.get("/v1/events", headers=STREAM)
        assert (answer.status, answer.slug) == (503, "overloaded")
        metrics = (await served.get("/metrics")).body
        assert b"shipslog_event_streams 1.0" in metrics


async def test_f42_a_client_that_stalls_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path, Limits(stalled_seconds=0.3)) as served:
        await served.define()
        stream = stream_of((await served.deploy())["id"])
        for attempt in range(60):
            started = Deployment.StageStarted(stage="build", attempt=attempt)
            printed = Deployment.StageFinished(
                stage="build", attempt=attempt, outcome="failed", message="x" * 200_000
            )
            await served.record(stream, started, printed)
        gone = asyncio.Event()
        monkeypatch.setattr(served.services.metrics.streams, "dec", gone.set)
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        head = "GET /v1/events?after=0 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n"
        token = f"Authorization: Bearer {served.tokens[Role.VIEWER]}\r\n\r\n"
        writer.write((head + token).encode())
        async with asyncio.timeout(10):
            await gone.wait()
        assert (await served.post("/v1/deployments", REQUEST)).status == 202
        writer.close()


async def test_a_revoked_token_ends_its_stream(
    defined: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipslog.api.routes.log.stream.LOOK_SECONDS", 0.05)
    async with streaming(defined) as response:
        for token in await defined.store.tokens.list():
            if token.role is Role.VIEWER:
                await defined.store.tokens.revoke(token.id)
        async with asyncio.timeout(10):
            assert await response.content.read() == b""


async def test_streams_end_with_the_server(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with serve(tmp_path) as served:
            sent = STREAM | {"Authorization": f"Bearer {served.tokens[Role.VIEWER]}"}
            url = f"http://127.0.0.1:{served.port}/v1/events"
            response = await session.get(url, headers=sent)
        with pytest.raises(aiohttp.ClientError):
            await response.content.read()
        response.close()
