"""Probes against real servers that are slow, endless, wrong or absent."""

import asyncio
import contextlib
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shipslog.adapters.probes.http import HttpProbe
from shipslog.domain.ports import Probe

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Script], Awaitable[int]]

TIMEOUT = 0.4
LONG = 30.0
"""Seconds that no probe here comes near, and that who waits for the whole answer exceeds by far."""
MANY = 200
BOMB = zlib.compress(bytes(50_000_000))


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    probe = HttpProbe()
    yield probe
    await probe.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Gives a server that follows a script after each request's head, and its port."""
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(script: Script) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await script(writer)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def saying(*pieces: bytes, every: float = 0) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every)

    return script


def after(seconds: float) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return script


async def test_the_expected_status_passes(probe: Probe, serve: Serve) -> None:
    port = await serve(saying(b"HTTP/1.1 204 No Content\r\n\r\n"))
    answer = await probe.http(f"http://127.0.0.1:{port}/", 204, 2)
    assert (answer.passed, answer.detail) == (True, "204")
    assert 0 < answer.seconds < 2


async def test_another_status_fails(probe: Probe, serve: Serve) -> None:
    port = await serve(saying(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"))
    answer = await probe.http(f"http://127.0.0.1:{port}/", 200, 2)
    assert (answer.passed, answer.detail) == (False, "500, expected 200")


async def test_an_answer_before_the_deadline_passes(probe: Probe, serve: Serve) -> None:
    port = await serve(after(TIMEOUT))
    assert (await probe.http(f"http://127.0.0.1:{port}/", 200, LONG)).passed


async def test_the_verdict_comes_by_the_deadline(probe: Probe, serve: Serve) -> None:
    port = await serve(after(20 * LONG))
    async with asyncio.timeout(LONG):
        answer = await probe.http(f"http://127.0.0.1:{port}/", 200, TIMEOUT)
    assert not answer.passed
    assert "within 0.4 s" in answer.detail


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
async def test_an_answer_that_drips_fails_by_the_deadline(
    probe: Probe, serve: Serve, head: bytes
) -> None:
    port = await serve(saying(head, *[b"H"] * 100_000, every=0.05))
    async with asyncio.timeout(LONG):
        answer = await probe.http(f"http://127.0.0.1:{port}/", 200, TIMEOUT)
    assert not answer.passed


async def test_of_an_endless_answer_64_kib_are_read(probe: Probe, serve: Serve) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(64 * 1024))
            await writer.drain()
            sent += 64 * 1024

    port = await serve(endless)
    answer = await probe.http(f"http://127.0.0.1:{port}/", 200, LONG)
    assert answer.passed
    assert sent < 20_000_000


async def test_a_compressed_answer_is_not_unpacked(probe: Probe, serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n"
    port = await serve(saying(head % len(BOMB), BOMB))
    tracemalloc.start()
    answer = await probe.http(f"http://127.0.0.1:{port}/", 200, LONG)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.passed
    assert most < 10_000_000


async def test_a_redirect_is_not_followed(probe: Probe, serve: Serve) -> None:
    followed: list[bool] = []

    async def elsewhere(_: asyncio.StreamWriter) -> None:
        followed.append(True)

    to = b"http://127.0.0.1:%d/" % await serve(elsewhere)
    redirect = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % to
    port = await serve(saying(redirect))
    answer = await probe.http(f"http://127.0.0.1:{port}/", 200, 2)
    assert (answer.passed, answer.detail) == (False, "302, expected 200")
    assert not followed


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99_999, b"HTTP/1.1 200"]
)
async def test_what_is_no_answer_fails_in_one_line(
    probe: Probe, serve: Serve, answer: bytes
) -> None:
    port = await serve(saying(answer))
    asked = await probe.http(f"http://127.0.0.1:{port}/", 200, 2)
    assert not asked.passed
    assert asked.detail
    assert "\n" not in asked.detail
    assert len(asked.detail) <= 200


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://127.0.0.1/", "http://", "http://[::1", "http://a b/"]
)
async def test_what_is_no_address_fails(probe: Probe, url: str) -> None:
    asked = await probe.http(url, 200, 1)
    assert not asked.passed


async def test_nobody_listening_fails(probe: Probe) -> None:
    asked = await probe.http("http://127.0.0.1:1/", 200, 1)
    assert not asked.passed
    tcp = await probe.tcp("127.0.0.1", 1, 1)
    assert not tcp.passed
    assert "refused" in tcp.detail or "111" in tcp.detail


async def test_a_port_that_takes_connections_passes(probe: Probe, serve: Serve) -> None:
    port = await serve(saying())
    assert (await probe.tcp("127.0.0.1", port, 1)).passed


async def test_a_host_that_says_nothing_fails_by_the_deadline(probe: Probe) -> None:
    async with asyncio.timeout(LONG):
        asked = await probe.tcp("192.0.2.1", 9, TIMEOUT)
    assert not asked.passed


async def test_many_are_asked_at_once(probe: Probe, serve: Serve) -> None:
    together = asyncio.Barrier(MANY)

    async def when_all_have_asked(writer: asyncio.StreamWriter) -> None:
        await together.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    port = await serve(when_all_have_asked)
    asked = [probe.http(f"http://127.0.0.1:{port}/", 200, LONG) for _ in range(MANY)]
    assert all(answer.passed for answer in await asyncio.gather(*asked))
