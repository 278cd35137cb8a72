"""Connections: what the parser refuses, what is too slow, too much, or cut off in the middle."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import NoReturn
from unittest.mock import create_autospec

import msgspec
import pytest
from aiohttp import http_parser, web

from shipslog.api.sending import LARGE, Sending
from shipslog.api.services import Limits
from shipslog.api.wire.listener import PurePythonParserError, require_compiled_parser
from shipslog.domain.access import Role

from .served import REQUEST, Served, serve

HOST = b"Host: ledger\r\n"
POST = b"POST /v1/deployments HTTP/1.1\r\n" + HOST
GET = b"GET /healthz HTTP/1.1\r\n" + HOST


@asynccontextmanager
async def connected(
    served: Served,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(served: Served, sent: bytes) -> bytes:
    """Return everything that the server says to these bytes, until it closes the connection."""
    async with connected(served) as (reader, writer), asyncio.timeout(10):
        writer.write(sent)
        return await reader.read()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="B1"
        ),
        pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="B2"),
        pytest.param(POST + b"Content-Length: +5\r\n\r\n{}{}{}", id="B3-plus"),
        pytest.param(POST + b"Content-Length: 0x5\r\n\r\n{}{}{}", id="B3-hex"),
        pytest.param(POST + b"Content-Length: 1_0\r\n\r\n{}{}{}", id="B3-underscore"),
        pytest.param(GET + b"X: " + b"a" * 9000 + b"\r\n\r\n", id="B4-header"),
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", id="B4-target"),
        pytest.param(
            GET + b"".join(b"X%d: 1\r\n" % n for n in range(300)) + b"\r\n", id="B5-300-headers"
        ),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", id="B6-no-host"),
        pytest.param(GET + HOST + b"\r\n", id="B6-two-hosts"),
        pytest.param(GET + b"X: a\0b\r\n\r\n", id="B7-nul"),
        pytest.param(GET + b"X: a\rb\r\n\r\n", id="B7-bare-cr"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n",
            id="B8-chunk-size",
        ),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\n{}\r\n0\r\n\r\n", id="B8-bare-lf"
        ),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused_and_closed(
    served: Served, sent: bytes
) -> None:
    before = served.fingerprint()
    secret = served.tokens[Role.ADMIN].encode()
    answer = await said(served, sent.replace(HOST, HOST + b"Authorization: " + secret + b"\r\n", 1))
    assert answer.split(b" ", 2)[1] == b"400"
    assert len(answer) < 600
    assert secret not in served.log.getvalue()
    assert served.fingerprint() == before


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(b"/v1/%2e%2e/x", b"404", id="B15-dots"),
        pytest.param(b"//v1/events", b"404", id="B15-slashes"),
        pytest.param(b"/v1/pipelines/%00", b"400", id="B15-nul"),
        pytest.param(b"/v1/%c0%ae/x", b"404", id="B15-overlong"),
        pytest.param(b"/v1/../v1/events", b"404", id="B15-plain-dots"),
    ],
)
async def test_b15_a_path_is_taken_as_it_is(served: Served, target: bytes, status: bytes) -> None:
    sent = b"GET " + target + b" HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    answer = await said(served, sent)
    assert answer.split(b" ", 2)[1] == status
    assert b"Content-Type: application/problem+json" in answer


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_b14_another_method_is_told_which_there_are(served: Served, method: str) -> None:
    answer = await served.ask(method, "/v1/deployments")
    assert (answer.status, answer.slug) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET,HEAD,POST"


async def test_b13_what_nobody_can_read_is_not_sent(defined: Served) -> None:
    for accept in ("image/png", "application/json;q=0", "text/event-stream"):
        answer = await defined.get("/v1/deployments", headers={"Accept": accept})
        assert (answer.status, answer.slug) == (406, "not-acceptable")
    answer = await defined.get("/v1/deployments", headers={"Accept": "image/png, */*;q=0.1"})
    assert answer.status == 200


async def test_an_expectation_that_nobody_knows_fails(served: Served) -> None:
    answer = await said(served, GET + b"Expect: luck\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"417"
    assert b"application/problem+json" in answer


async def test_a_transfer_coding_is_a_compression(served: Served) -> None:
    token = served.tokens[Role.ADMIN].encode()
    head = POST + b"Authorization: Bearer " + token + b"\r\nConnection: close\r\n"
    sent = head + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert (await said(served, sent)).split(b" ", 2)[1] == b"415"


async def test_b16_pipelined_requests_are_cut_off(served: Served) -> None:
    async with connected(served) as (reader, writer), asyncio.timeout(10):
        writer.write((GET + b"\r\n") * 10_000)
        answer = await reader.read()
    assert answer.split(b" ", 2)[1] == b"429"
    assert answer.count(b"HTTP/1.1") == 1


async def test_b11_a_body_without_end_times_out(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(body_seconds=0.2, linger_seconds=0.1)) as served:
        token = served.tokens[Role.ADMIN].encode()
        head = POST + b"Authorization: Bearer " + token + b"\r\nContent-Type: application/json\r\n"
        for start in (b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"Content-Length: 100\r\n\r\n{"):
            async with connected(served) as (reader, writer), asyncio.timeout(10):
                writer.write(head + start)
                answer = await reader.readuntil(b"}")
            assert answer.split(b" ", 2)[1] == b"408"
            assert b"urn:shipslog:problem:timeout" in answer


async def test_a_head_that_comes_too_slowly_is_closed(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(idle_seconds=0.3)) as served:
        async with asyncio.timeout(30):
            assert await said(served, GET + b"X-Slow: ") == b""
            assert await said(served, b"") == b""


async def test_a_connection_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(connections=2)) as served:
        async with connected(served), connected(served):
            answer = await said(served, b"")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in head
        assert msgspec.json.decode(body)["status"] == 503


async def test_bodies_have_a_budget_together(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(body_bytes=1000)) as served:
        await served.define()
        answer = await served.post("/v1/deployments", REQUEST | {"reason": "x" * 2000})
        assert (answer.status, answer.slug) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert (await served.post("/v1/deployments", REQUEST)).status == 202


async def test_i50_a_full_server_says_so_and_lets_probes_through(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(requests=0)) as served:
        answer = await served.get("/v1/events")
        assert (answer.status, answer.slug) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert (await served.get("/healthz")).status == 200


async def test_changes_wait_outside_where_too_many_wait_for_the_writer(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(appends=0)) as served:
        answer = await served.post("/v1/deployments", REQUEST)
        assert (answer.status, answer.slug) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
        assert (await served.get("/v1/deployments")).status == 200
        assert b"shipslog_append_queue_depth 0.0" in (await served.get("/metrics")).body


async def test_large_answers_have_a_budget_together(tmp_path: Path) -> None:
    async with serve(tmp_path, Limits(answer_bytes=LARGE)) as served:
        await served.define()
        assert (await served.get("/v1/events")).status == 200
        for _ in range(6):
            await served.deploy(reason="x" * 4000)
        answer = await served.get(many := "/v1/events?limit=1000")
        while answer.status == 200 and len(answer.body) <= LARGE:
            await served.deploy(reason="x" * 4000)
            answer = await served.get(many)
        assert (answer.status, answer.slug) == (503, "overloaded")
        assert (await served.get("/v1/events?limit=1")).status == 200


async def test_f42_a_client_that_takes_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: asyncio.Queue[BaseException | None] = asyncio.Queue()
    lose = web.RequestHandler.connection_lost

    def noted(handler: web.RequestHandler, error: BaseException | None) -> None:
        lose(handler, error)
        ended.put_nowait(error)

    monkeypatch.setattr(web.RequestHandler, "connection_lost", noted)
    async with serve(tmp_path, Limits(stalled_seconds=0.5)) as served:
        with socket() as client:
            client.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", served.port))
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(30):
                assert isinstance(await ended.get(), TimeoutError)
        assert (await served.get("/healthz")).status == 200


async def test_an_answer_that_is_taken_too_slowly_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck(web.Response):
        async def prepare(self, request: web.BaseRequest) -> NoReturn:
            del request
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("shipslog.api.sending.SLOWEST", 1e9)
    sending = Sending(Limits(stalled_seconds=0.01, answer_bytes=LARGE + 1))
    for _ in range(2):
        request = create_autospec(web.Request, instance=True)
        await sending.send(request, Stuck(body=bytes(LARGE + 1)))
        request.transport.abort.assert_called_once()


async def test_f43_a_command_whose_client_goes_is_whole_or_absent(defined: Served) -> None:
    before = await defined.services.log.head()
    body = msgspec.json.encode(REQUEST)
    token = defined.tokens[Role.ADMIN].encode()
    head = POST + b"Authorization: Bearer " + token + b"\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for cut in range(0, len(whole) + 1, 17):
        async with connected(defined) as (_, writer):
            writer.write(whole[:cut])
            await writer.drain()
    async with connected(defined) as (_, writer):
        writer.write(whole)
        await writer.drain()
    async with asyncio.timeout(10):
        await defined.services.follower.reached(before + 2, 10)
    items = (await defined.get("/v1/deployments")).json["items"]
    for item in items:
        events = (await defined.get(item["links"]["events"])).json["items"]
        assert events[0]["topic"] == "deployment.requested"
    faults = [line for line in defined.logged() if line["level"] == "error"]
    assert not faults


def test_the_parser_in_python_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    require_compiled_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(PurePythonParserError):
        require_compiled_parser()
