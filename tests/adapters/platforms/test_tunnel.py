"""WebSockets through the router, and how what is in flight ends when a revision is drained."""

import asyncio
import os
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from shipslog.adapters.platforms.processes.router import tunnel as tunnel_module
from shipslog.adapters.platforms.processes.router.revision import Revision
from shipslog.adapters.platforms.processes.router.tunnel import Frames

from .front import TARGET, Client, Front, front, ok
from .ground import eventually, free_port

__all__ = ["front"]

GOING_AWAY = 1001
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Echo:
    """A WebSocket service that says everything again; `close N` makes it close with N."""

    def __init__(self) -> None:
        self.address = ("127.0.0.1", free_port())
        self.closed_with: list[int | None] = []

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["echo"], max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data.startswith("close "):
                await socket.close(code=int(message.data.removeprefix("close ")))
            else:
                await socket.send_str(message.data)
        self.closed_with.append(socket.close_code)
        return socket


@pytest.fixture
async def echo(front: Front) -> AsyncIterator[Echo]:
    echo = Echo()
    app = web.Application()
    app.router.add_get("/", echo.talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, *echo.address).start()
    revision = Revision()
    revision.addresses = (echo.address,)
    front.router.site(TARGET).revisions["v1"] = revision
    await front.route(v1=10_000)
    yield echo
    await front.close()
    await runner.cleanup()


@pytest.fixture
async def socket(front: Front, echo: Echo) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    assert echo
    url = f"http://127.0.0.1:{front.port}/"
    async with aiohttp.ClientSession() as session:
        connected = session.ws_connect(url, protocols=["echo"], compress=15, max_msg_size=0)
        async with connected as socket:
            yield socket


async def test_messages_pass_both_ways_with_protocol_and_compression(
    socket: aiohttp.ClientWebSocketResponse, front: Front
) -> None:
    assert (socket.protocol, socket.compress) == ("echo", 15)
    for message in ("hello", "", "x" * 200_000):
        await socket.send_str(message)
        assert await socket.receive_str() == message
    large = os.urandom(3_000_000)
    await socket.send_bytes(large)
    assert await socket.receive_bytes() == large
    await socket.ping(b"there?")
    assert front.traffic().in_flight == 1
    assert front.traffic().statuses == {101: 1}


@pytest.mark.parametrize("code", [1000, 4001])
async def test_a_close_code_passes_from_the_service(
    socket: aiohttp.ClientWebSocketResponse, front: Front, code: int
) -> None:
    await socket.send_str(f"close {code}")
    assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
    assert socket.close_code == code
    await eventually(lambda: front.traffic().in_flight == 0)


async def test_a_close_code_passes_from_the_client(
    socket: aiohttp.ClientWebSocketResponse, echo: Echo, front: Front
) -> None:
    await socket.close(code=4002)
    await eventually(lambda: echo.closed_with == [4002])
    await eventually(lambda: front.traffic().in_flight == 0)


async def test_a_refused_upgrade_passes(front: Front) -> None:
    await front.serve(ok(b"no"))
    async with await Client.of(front) as client:
        client.send(UPGRADE)
        assert (await client.head()).startswith(b"HTTP/1.1 200 OK")
        assert await client.reader.readexactly(2) == b"no"


async def test_a_drained_websocket_is_closed_with_1001_on_both_sides(
    socket: aiohttp.ClientWebSocketResponse, echo: Echo, front: Front
) -> None:
    await socket.send_str("hello")
    await front.route()
    draining = asyncio.create_task(front.router.retire(TARGET, "v1", 0.2, later(20)))
    assert await socket.receive_str() == "hello"
    await socket.send_str("still here")
    assert await socket.receive_str() == "still here"
    assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
    assert socket.close_code == GOING_AWAY
    async with asyncio.timeout(30):
        await draining
    assert echo.closed_with == [GOING_AWAY]


async def test_a_close_waits_for_the_frame_that_is_on_its_way(front: Front) -> None:
    heard = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x82\x05he")
        assert await reader.readexactly(8) == b"\x88\x82\0\0\0\0\x03\xe9"
        writer.write(b"llo\x82\x04lost")
        heard.set()
        await reader.read()

    await front.serve(talk)
    async with await Client.of(front) as client:
        client.send(UPGRADE)
        assert b"Upgrade: websocket" in await client.head()
        await front.route()
        draining = asyncio.create_task(front.router.retire(TARGET, "v1", 0, later(20)))
        assert await client.reader.readexactly(7) == b"\x82\x05hello"
        assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe9"
        await heard.wait()
    async with asyncio.timeout(30):
        await draining


async def test_a_websocket_that_does_not_answer_the_close_is_cut(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "LINGER", 0.1)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x82\x05he")
        await eventually(reader.at_eof, seconds=20)

    await front.serve(deaf)
    async with await Client.of(front) as client:
        client.send(UPGRADE)
        await client.head()
        await front.route()
        async with asyncio.timeout(15):
            await front.router.retire(TARGET, "v1", 0, later(20))


async def test_a_request_that_outlasts_the_deadline_is_cut_and_one_that_does_not_is_not(
    front: Front,
) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(float(front.heads[-1].split()[1][1:]))
        await ok()(reader, writer)

    await front.serve(slow)
    async with await Client.of(front) as short, await Client.of(front) as long:
        for client, seconds in ((short, b"0.3"), (long, b"300")):
            client.send(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % seconds)
        await eventually(lambda: len(front.heads) == 2)
        await front.route()
        async with asyncio.timeout(30):
            await front.router.retire(TARGET, "v1", 0, later(1))
        assert (await short.head()).startswith(b"HTTP/1.1 200")
        assert await long.reader.read() == b""


@pytest.mark.parametrize("seed", range(20))
def test_frames_end_where_they_end_however_they_arrive(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    frames = [frame(chance) for _ in range(20)]
    stream = b"".join(frames)
    ends = {sum(map(len, frames[: count + 1])) for count in range(len(frames))}
    at, followed = 0, Frames()
    while at < len(stream):
        piece = stream[at : at + chance.choice((1, 2, 5, 70_000))]
        passed = followed.follow(piece, stop_at_end=chance.random() < 0.5)
        at += passed
        assert followed.is_between is (at in ends | {0})
        if passed == 0:
            assert followed.is_between
            at += followed.follow(stream[at : at + 1], stop_at_end=False)


def frame(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 125, 126, 65_535, 65_536))
    mask = chance.choice((b"", b"abcd"))
    if size < 126:
        length = bytes((size | (0x80 if mask else 0),))
    elif size < 65_536:
        length = bytes((126 | (0x80 if mask else 0),)) + size.to_bytes(2)
    else:
        length = bytes((127 | (0x80 if mask else 0),)) + size.to_bytes(8)
    return b"\x82" + length + mask + bytes(size)


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
