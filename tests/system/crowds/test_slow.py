"""F41 and F42: hundreds of clients that send or read as slowly as they can disturb nobody."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET, socket

import pytest
from aiohttp import web

from shipslog.api.services import Limits
from shipslog.domain.access import Role
from shipslog.domain.deployment import Deployment, stream_of
from tests.api.http.served import REQUEST, Served, serve

SENDING, READING = 150, 40
"""So many clients do it slowly."""
PACE = 0.05
"""Seconds between two bytes of a client that sends slowly."""
TOO_LATE = b"HTTP/1.1 408 Request Timeout"
GET = b"GET /healthz HTTP/1.1\r\nHost: ledger\r\n"


@asynccontextmanager
async def undisturbed(served: Served) -> AsyncGenerator[None]:
    """Let others ask and deploy all the while; none may be refused."""
    path = (await served.deploy())["links"]["self"]
    is_over = asyncio.Event()

    async def work() -> None:
        while not is_over.is_set():
            assert (await served.get(path)).status == 200
            assert (await served.post("/v1/deployments", REQUEST)).status == 202

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        is_over.set()
        await working


async def dribbled(served: Served, at_once: bytes) -> bytes:
    """Send a beginning, then a byte at a time; return what the server says until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    reading = asyncio.create_task(reader.read())
    with suppress(ConnectionError):
        writer.write(at_once)
        while not (await asyncio.wait([reading], timeout=PACE))[0]:
            writer.write(b"x")
            await writer.drain()
    writer.close()
    return reading.result() if reading.done() and not reading.exception() else b""


async def test_f41_heads_and_bodies_that_come_too_slowly_are_given_up(tmp_path: Path) -> None:
    limits = Limits(idle_seconds=1.0, body_seconds=1.0, linger_seconds=0.1)
    async with serve(tmp_path, limits) as served, asyncio.timeout(40):
        await served.define()
        token = served.tokens[Role.ADMIN].encode()
        body = b"POST /v1/deployments HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer " + token
        body += b"\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
        async with undisturbed(served):
            heads, bodies = await asyncio.gather(
                asyncio.gather(*(dribbled(served, GET + b"X-Slow: ") for _ in range(SENDING))),
                asyncio.gather(*(dribbled(served, body) for _ in range(SENDING))),
            )
    assert set(heads) == {b""}
    # Who still sends when the connection is closed may lose the answer.
    assert {answer.partition(b"\r\n")[0] for answer in bodies if answer} == {TOO_LATE}


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        pytest.param("/v1/events?after=0", "text/event-stream", id="stream"),
        pytest.param("/v1/events?limit=1000", "application/json", id="page"),
        pytest.param("/openapi.json", "application/json", id="document"),
    ],
)
async def test_f42_clients_that_read_nothing_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, accept: str
) -> None:
    monkeypatch.setattr("shipslog.api.sending.SLOWEST", 1e9)
    cut: asyncio.Queue[BaseException | None] = asyncio.Queue()
    lose = web.RequestHandler.connection_lost

    def noted(handler: web.RequestHandler, error: BaseException | None) -> None:
        lose(handler, error)
        cut.put_nowait(error)

    async with serve(tmp_path, Limits(stalled_seconds=0.5)) as served, asyncio.timeout(40):
        await served.define()
        stream = stream_of((await served.deploy())["id"])
        for attempt in range(20):
            finished = Deployment.StageFinished(
                stage="build", attempt=attempt, outcome="failed", message="x" * 200_000
            )
            await served.record(stream, finished)
        monkeypatch.setattr(web.RequestHandler, "connection_lost", noted)
        token = served.tokens[Role.VIEWER]
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n"
        async with undisturbed(served):
            request = f"{head}Authorization: Bearer {token}\r\n\r\n".encode()
            clients = [stalling(served, request) for _ in range(READING)]
            for _ in clients:
                await cut.get()
            for client in clients:
                client.close()


def stalling(served: Served, request: bytes) -> socket:
    """Ask for something large and take none of it."""
    client = socket()
    client.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", served.port))
    client.sendall(request)
    return client
