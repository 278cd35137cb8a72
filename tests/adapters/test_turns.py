"""A loop that is fair: strangers get a share of each turn, our own files get every turn."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from shipslog.adapters import turns
from shipslog.adapters.turns import SHARE, FairSelector

CROWD = 3 * SHARE


@pytest.fixture
def selector() -> Iterator[FairSelector]:
    selector = FairSelector()
    yield selector
    selector.close()


@pytest.fixture
def crowd(selector: FairSelector) -> Iterator[list[socket.socket]]:
    """Connections that strangers made to us, each with something to read."""
    with ExitStack() as closing, socket.create_server(("127.0.0.1", 0), backlog=CROWD) as listening:
        selector.register(listening, EVENT_READ)
        accepted: list[socket.socket] = []
        for _ in range(CROWD):
            client = closing.enter_context(socket.create_connection(listening.getsockname()))
            client.sendall(b"hello")
            accepted.append(closing.enter_context(listening.accept()[0]))
            accepted[-1].recv(1, socket.MSG_PEEK)
            selector.register(accepted[-1], EVENT_READ)
        yield accepted


def test_the_crowd_gets_a_share_of_each_turn_and_everybody_a_turn(
    selector: FairSelector, crowd: list[socket.socket]
) -> None:
    seen: set[object] = set()
    for _ in range(CROWD // SHARE):
        ready = selector.select(0)
        assert len(ready) == SHARE
        seen |= {key.fileobj for key, _ in ready}
    assert seen == set(crowd)


def test_our_own_files_are_taken_every_turn(
    selector: FairSelector, crowd: list[socket.socket]
) -> None:
    reading, writing = os.pipe()
    ours, other = socket.socketpair()
    with ours, other:
        selector.register(reading, EVENT_READ, "pipe")
        selector.register(ours, EVENT_READ | EVENT_WRITE, "pair")
        os.write(writing, b"x")
        other.send(b"x")
        for _ in range(3):
            ready = {key.data: events for key, events in selector.select(0)}
            assert ready["pipe"] == EVENT_READ
            assert ready["pair"] == EVENT_READ | EVENT_WRITE
        selector.modify(ours, EVENT_READ, "pair")
        assert ("pair", EVENT_READ) in [(key.data, events) for key, events in selector.select(0)]
        assert selector.unregister(reading).data == "pipe"
        assert "pipe" not in [key.data for key, _ in selector.select(0)]
    os.close(reading)
    os.close(writing)
    assert len(crowd) == CROWD


def test_a_connection_that_we_made_is_ours(selector: FairSelector) -> None:
    with ExitStack() as closing:
        listening = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(SHARE + 1):
            made = closing.enter_context(socket.create_connection(listening.getsockname()))
            selector.register(made, EVENT_WRITE)
        assert len(selector.select(0)) == SHARE + 1


def test_it_knows_its_files(selector: FairSelector, crowd: list[socket.socket]) -> None:
    one = crowd[0]
    assert selector.get_key(one).fd == selector.get_key(one.fileno()).fd == one.fileno()
    with pytest.raises(KeyError):
        selector.register(one, EVENT_READ)
    selector.unregister(one)
    for forgotten in (selector.unregister, selector.get_key):
        with pytest.raises(KeyError):
            forgotten(one)
    one.close()
    with pytest.raises(ValueError, match="socket"):
        selector.register(one, EVENT_READ)


def test_a_closed_file_can_still_be_forgotten(
    selector: FairSelector, crowd: list[socket.socket]
) -> None:
    fd = crowd[0].fileno()
    crowd[0].close()
    assert selector.unregister(fd).fd == fd
    assert selector.select(0)


def test_a_loop_runs_on_it() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 10)
        answer = await reader.read()
        writer.close()
        return answer

    async def main() -> list[bytes]:
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.gather(*(ask(port) for _ in range(CROWD)))

    assert turns.run(main()) == [b"x" * 10] * CROWD
