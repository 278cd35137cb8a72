"""Exports that do not come to their end: whoever has a part of one knows that it is a part."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from shipslog.api.services import Limits
from shipslog.domain.access import Role
from shipslog.domain.errors import CorruptLogError
from shipslog.domain.ports import Stretch

from ..served import Served, serve
from .asking import PATH, endless, export

T = TypeVar("T")

CUT = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)


@pytest.fixture
def never_ending(defined: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server, of whose log the exports have no end."""
    be_endless(defined, monkeypatch)
    return defined


def be_endless(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.store.log, "stretches", endless(served))


def break_off(served: Served, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Let the log be corrupt behind so many stretches."""
    (real,) = served.store.log.stretches(lambda stretch: stretch.states, after=0, upto=1)

    def broken(make: Callable[[Stretch], T], **_where: int) -> Iterator[T]:
        for _ in range(after):
            yield make(Stretch(1, [*real] * 2000))
        raise CorruptLogError(position=7, detail="it is broken")

    monkeypatch.setattr(served.store.log, "stretches", broken)


@asynccontextmanager
async def begun(
    served: Served, role: Role = Role.AUDITOR
) -> AsyncGenerator[aiohttp.ClientResponse]:
    """Ask for an export and take its first bytes."""
    headers = {"Authorization": f"Bearer {served.tokens[role]}"}
    async with served.session.get(PATH, headers=headers) as response:
        assert response.status == 200
        await response.content.readexactly(100)
        yield response


async def until_free(served: Served) -> None:
    """Return once the server takes an export again."""
    async with asyncio.timeout(10):
        while (await served.ask("HEAD", PATH)).status != 200:
            pass


async def under_way(served: Served) -> float:
    """Return how many exports the server says it is at."""
    told = (await served.get("/metrics")).body.decode().splitlines()
    return next(float(line.split()[1]) for line in told if line.startswith("shipslog_exports "))


async def test_a_fault_before_the_first_byte_is_told(
    defined: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(defined, monkeypatch, after=0)
    for path in (PATH, f"{PATH}/manifest"):
        answer = await defined.get(path)
        assert (answer.status, answer.slug) == (500, "internal")


@pytest.mark.parametrize("stretches", [1, 5])
async def test_a_fault_behind_it_is_seen_as_a_cut(
    defined: Served, monkeypatch: pytest.MonkeyPatch, stretches: int
) -> None:
    break_off(defined, monkeypatch, after=stretches)
    with pytest.raises(CUT):
        await export(defined)
    said = [line["event"] for line in defined.logged()]
    assert "export cut off" in said or stretches == 1


async def test_http_1_0_sees_a_cut_as_a_broken_connection(never_ending: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", never_ending.port)
    token = f"Authorization: Bearer {never_ending.tokens[Role.AUDITOR]}"
    writer.write(f"GET {PATH} HTTP/1.0\r\n{token}\r\n\r\n".encode())
    await reader.readexactly(100_000)
    await revoke_all(never_ending)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    writer.close()


async def test_a_revoked_token_cuts_its_export(never_ending: Served) -> None:
    async with begun(never_ending) as response:
        await revoke_all(never_ending)
        with pytest.raises(CUT):
            async with asyncio.timeout(10):
                await response.content.read()


async def test_f41_f42_a_client_that_stalls_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path, Limits(stalled_seconds=0.2, exports=1)) as served:
        await served.define()
        be_endless(served, monkeypatch)
        async with begun(served):
            await until_free(served)


async def test_a_client_that_goes_leaves_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path, Limits(exports=1)) as served:
        await served.define()
        be_endless(served, monkeypatch)
        async with begun(served) as response:
            response.close()
        await until_free(served)
        assert await under_way(served) == 0


async def test_one_export_too_many_is_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path, Limits(exports=2)) as served:
        await served.define()
        be_endless(served, monkeypatch)
        async with begun(served), begun(served):
            for path in (PATH, f"{PATH}/manifest"):
                answer = await served.get(path)
                assert (answer.status, answer.slug) == (503, "overloaded")
                assert "Retry-After" in answer.headers
            assert await under_way(served) == 2
            assert (await served.deploy())["status"] == "requested"


async def test_each_stays_on_one_thread_and_two_are_on_two(
    never_ending: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    endless_ones = never_ending.store.log.stretches

    def noted(make: Callable[[Stretch], T], **where: int) -> Iterator[T]:
        for made in endless_ones(make, **where):
            threads.add(threading.current_thread().name)
            yield made

    monkeypatch.setattr(never_ending.store.log, "stretches", noted)
    async with begun(never_ending) as response:
        await response.content.readexactly(10_000_000)
        assert len(threads) == 1
    async with asyncio.timeout(10):
        while await under_way(never_ending):
            pass
    async with begun(never_ending) as again:
        await again.content.readexactly(10_000_000)
        assert len(threads) == 1
        async with begun(never_ending) as other:
            await other.content.readexactly(10_000_000)
            assert len(threads) == 2


async def test_exports_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aiohttp.ClientSession() as session:
        async with serve(tmp_path) as served:
            await served.define()
            be_endless(served, monkeypatch)
            headers = {"Authorization": f"Bearer {served.tokens[Role.AUDITOR]}"}
            url = f"http://127.0.0.1:{served.port}{PATH}"
            response = await session.get(url, headers=headers)
            await response.content.readexactly(100)
        with pytest.raises(CUT):
            await response.content.read()
        response.close()


async def revoke_all(served: Served) -> None:
    for token in await served.store.tokens.list():
        if token.role is Role.AUDITOR:
            await served.store.tokens.revoke(token.id)
