"""The router as a proxy for HTTP/1.1: what passes, what is refused, what is counted."""

import asyncio
import zlib
from collections import Counter

import pytest

from shipslog.adapters.platforms.processes.router import site as site_module
from shipslog.adapters.platforms.processes.router.revision import Revision
from shipslog.adapters.platforms.processes.router.site import WHOLE, Site
from shipslog.domain.ports import Route

from .front import Client, Front, answering, front, ok, talk
from .ground import eventually, free_port

__all__ = ["front"]

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\n"


async def test_each_request_of_a_kept_connection_has_a_fresh_one_behind(front: Front) -> None:
    await front.serve(ok())
    async with await Client.of(front) as client:
        for _ in range(3):
            client.send(GET)
            assert b"Connection" not in await client.head()
            assert await client.reader.readexactly(5) == b"hello"
    assert len(front.heads) == 3
    assert all(b"\r\nConnection: close\r\n" in head for head in front.heads)


async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    async def path(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ok(front.heads[-1].split()[1])(_, writer)

    await front.serve(path)
    said = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(50))
    answers = await talk(front, said + CLOSE)
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"/%d" % number for number in range(50)] + [b"/"]


async def test_what_is_between_client_and_service_passes_unchanged(front: Front) -> None:
    await front.serve(ok())
    target = b"/a%2Fb/../%zz//c?x=%20y&y=%C3%A9'\"<>;\xff#f"
    await talk(
        front,
        b"BREW " + target + b" HTTP/1.1\r\nhOsT: Example.org:81\r\nCookie: a=b\r\ncookie: c=d\r\n"
        b"X-Bytes: \xff\xe9\r\nX-Empty:\r\nConnection: close, X-Own\r\nX-Own: 1\r\nTE: trailers\r\n"
        b"Upgrade: h2c\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
        b"Accept-Encoding: gzip\r\n\r\n",
    )
    assert front.heads == [
        b"BREW " + target + b" HTTP/1.1\r\nhOsT: Example.org:81\r\nCookie: a=b\r\ncookie: c=d\r\n"
        b"X-Bytes: \xff\xe9\r\nX-Empty: \r\nX-Forwarded-Proto: https\r\nAccept-Encoding: gzip\r\n"
        b"X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Host: Example.org:81\r\n"
        b"Connection: close\r\n\r\n"
    ]


async def test_what_comes_back_passes_unchanged(front: Front) -> None:
    body = zlib.compress(b"x" * 10_000)
    fields = b"Set-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Encoding: deflate\r\nX-Bytes: \xff\r\n"
    framing = b"Content-Length: %d\r\n" % len(body)
    hops = b"Keep-Alive: 5\r\nConnection: keep-alive, X-Own\r\nX-Own: 1\r\n"
    start = b"HTTP/1.1 299 Fine by me\r\n"
    await front.serve(answering(start + fields + hops + framing + b"\r\n" + body))
    answer = await talk(front, CLOSE)
    assert answer == start + fields + framing + b"Connection: close\r\n\r\n" + body


async def test_a_body_is_streamed_up_piece_by_piece(front: Front) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()) != b"0\r\n":
            await arrived.put(await reader.readexactly(int(line, 16)))
            await reader.readexactly(2)
        await ok(b"done")(reader, writer)

    await front.serve(receive)
    async with await Client.of(front) as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two"):
            client.send(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
            assert await asyncio.wait_for(arrived.get(), 5) == piece
        client.send(b"0\r\nTrailer: dropped\r\n\r\n" + CLOSE)
        assert (await client.head()).startswith(b"HTTP/1.1 200")


async def test_a_body_is_streamed_down_piece_by_piece(front: Front) -> None:
    go_on = asyncio.Event()

    async def stream(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\none\r\n")
        await go_on.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    await front.serve(stream)
    async with await Client.of(front) as client:
        client.send(GET + GET)
        assert b"Transfer-Encoding: chunked" in await client.head()
        assert await client.chunk() == b"one"
        go_on.set()
        assert [await client.chunk(), await client.chunk()] == [b"two", b""]
        assert (await client.head()).startswith(b"HTTP/1.1 200")


async def test_an_answer_without_length_is_chunked_for_new_and_closed_for_old_clients(
    front: Front,
) -> None:
    await front.serve(answering(b"HTTP/1.0 200 OK\r\n\r\nhello"))
    assert (await talk(front, CLOSE)).endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    old = await talk(front, b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nHost: 127.0.0.1:%d\r\n" % front.port in front.heads[-1]
    assert old == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_ends_with_its_head(
    front: Front, asked: bytes, answer: bytes
) -> None:
    await front.serve(answering(answer))
    request = asked + GET.removeprefix(b"GET")
    async with await Client.of(front) as client:
        for _ in range(2):
            client.send(request)
            assert await client.head() == answer


async def test_a_client_that_expects_100_is_told_by_the_service(front: Front) -> None:
    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/no" in front.heads[-1]:
            writer.write(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await ok(await reader.readexactly(4))(reader, writer)

    await front.serve(careful)
    async with await Client.of(front) as client:
        client.send(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        await client.head()
        assert await client.reader.readexactly(4) == b"body"
        client.send(
            b"POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        refused = await client.reader.read()
    assert refused.startswith(b"HTTP/1.1 417")
    assert b"Connection: close" in refused


@pytest.mark.parametrize(
    "said",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: 0x5\r\n\r\nhello",
        POST + b"Content-Length: 1_0\r\n\r\nhello",
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX y: b\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_is_not_plainly_one_request_is_refused(front: Front, said: bytes) -> None:
    await front.serve(never)
    answer = await talk(front, said)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert front.traffic().failures == 0


async def test_a_head_that_is_too_large_is_refused(front: Front) -> None:
    await front.serve(never)
    said = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000
    assert (await talk(front, said)).startswith(b"HTTP/1.1 431 ")


async def test_a_client_slow_with_its_head_is_closed(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_module, "HEAD_WITHIN", 0.1)
    await front.serve(ok())
    async with await Client.of(front) as client:
        client.send(GET[:-2])
        async with asyncio.timeout(30):
            assert await client.reader.read() == b""
    assert not front.heads


async def test_a_client_slow_with_its_body_is_closed(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_module, "STALLED", 0.1)
    await front.serve(never)
    answer = await talk(front, POST + b"Content-Length: 5\r\n\r\nhe")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert front.traffic().requests == 0


async def test_a_service_that_reads_nothing_holds_the_client_back(front: Front) -> None:
    await front.serve(never)
    async with await Client.of(front) as client:
        client.send(POST + b"Content-Length: 1000000000\r\n\r\n")
        sent = 0
        while sent < 300:
            client.send(b"x" * 100_000)
            sent += 1
            try:
                await asyncio.wait_for(client.writer.drain(), 0.5)
            except TimeoutError:
                break
        client.writer.transport.abort()
    assert sent < 300


async def test_a_client_that_leaves_is_seen_by_the_service(front: Front) -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()

    await front.serve(wait)
    async with await Client.of(front) as client:
        client.send(GET)
        await eventually(lambda: front.traffic().in_flight == 1)
    await asyncio.wait_for(left.wait(), 5)
    await eventually(lambda: front.traffic().in_flight == 0)
    assert front.traffic().failures == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000,
    ],
)
async def test_an_answer_that_cannot_be_had_is_502_and_a_failure(
    front: Front, answer: bytes
) -> None:
    await front.serve(answering(answer))
    assert (await talk(front, GET)).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert (front.traffic().requests, front.traffic().failures) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ],
)
async def test_an_answer_that_breaks_off_does_so_for_the_client_too(
    front: Front, answer: bytes
) -> None:
    await front.serve(answering(answer))
    came = await talk(front, GET)
    assert came.startswith(b"HTTP/1.1 200 OK")
    assert not came.endswith(b"0\r\n\r\n")
    assert (front.traffic().requests, front.traffic().failures) == (1, 1)


async def test_a_client_that_breaks_off_is_no_failure_of_the_service(front: Front) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answer)(reader, writer)
        await eventually(reader.at_eof)

    await front.serve(begin)
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    async with await Client.of(front) as client:
        client.send(chunked)
        await client.head()
        client.send(b"nonsense\r\n")
        assert await client.reader.read() == b"hello"
    await eventually(lambda: front.traffic().in_flight == 0)
    assert (front.traffic().requests, front.traffic().failures) == (1, 0)


async def test_an_early_answer_reaches_a_client_that_still_sends(front: Front) -> None:
    await front.serve(answering(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
    async with await Client.of(front) as client:
        client.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        assert (await client.head()).startswith(b"HTTP/1.1 413")


async def test_an_instance_that_refuses_is_passed_over(front: Front) -> None:
    revision = await front.serve(ok())
    revision.addresses = (("127.0.0.1", free_port()), *revision.addresses)
    for _ in range(4):
        assert (await talk(front, CLOSE)).startswith(b"HTTP/1.1 200 ")
    assert front.traffic().failures == 0
    revision.addresses = revision.addresses[:1]
    assert (await talk(front, CLOSE)).startswith(b"HTTP/1.1 502 ")
    assert front.traffic().failures == 1


async def test_instances_take_turns(front: Front) -> None:
    async def port(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ok(b"%d" % writer.get_extra_info("sockname")[1])(_, writer)

    await front.serve(port, instances=3)
    asked = Counter([(await talk(front, CLOSE))[-5:] for _ in range(9)])
    assert list(asked.values()) == [3, 3, 3]


async def test_without_a_route_the_client_is_asked_to_come_back(front: Front) -> None:
    await front.serve(ok())
    await front.route()
    answer = await talk(front, POST + b"Content-Length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")


@pytest.mark.parametrize("share", [1, 100, 1_000, 5_000, 9_999])
def test_a_share_is_exact_in_ten_thousand_and_near_in_any_hundred(share: int) -> None:
    site = Site()
    site.revisions = {"old": Revision(), "new": Revision()}
    site.route = Route("127.0.0.1:1", {"old": WHOLE - share, "new": share})
    picked = [site.pick() is site.revisions["new"] for _ in range(WHOLE)]
    assert sum(picked) == share
    for at in range(0, WHOLE, 100):
        assert abs(sum(picked[at : at + 100]) - share / 100) <= 2


async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Neither read nor answer until the router lets go."""
    await eventually(reader.at_eof, seconds=20)
