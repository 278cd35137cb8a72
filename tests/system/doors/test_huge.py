"""What may just be is taken, a byte more is not, and no memory fills."""

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest

from shipslog.domain.event import MAX_PAYLOAD_BYTES
from shipslog.domain.language.compiler import MAX_BYTES

from ..documents import Document
from ..installation import Installation
from .asking import Desk, desk, faults_of, log_of

MIB = 1024 * 1024
TEXT = 30_000
"""So much a single text may hold."""
HUGE_EVENTS = 40
MOST_MEMORY = 128 * MIB
"""What a page, the streams and the exports may take together: each keeps a little of the log."""
READERS = 5
"""Of each kind: so many streams and so many exports that nobody reads."""

pytestmark = pytest.mark.system


async def test_a_body_of_a_mebibyte_is_taken_and_one_byte_more_is_not(here: Installation) -> None:
    # F39
    name = f"padded-{secrets.token_hex(4)}"
    document = encoded({"stages": [{"name": "rest", "wait": "1s"}]})
    async with desk(here) as people:
        statuses = [
            await put(people, f"{name}-{size - MIB + 1}", document.ljust(size))
            for size in (MIB - 1, MIB, MIB + 1)
        ]
    assert statuses == [201, 201, 413]


async def test_a_definition_is_as_large_as_it_may_be_and_no_larger(here: Installation) -> None:
    # F39: nothing that a client may send makes an event larger than twice this.
    mark = secrets.token_hex(4)
    async with desk(here) as people:
        taken, refused = MAX_BYTES - 10_000, MAX_BYTES
        while refused - taken > 1:
            size = (taken + refused) // 2
            status = await put(people, f"{mark}-{size}", encoded(large(size)))
            assert status in {201, 422}
            taken, refused = (size, refused) if status == 201 else (taken, size)
    sizes = [len(event.payload) for event in log_of(here.data)]
    assert MAX_BYTES < max(sizes) < MAX_PAYLOAD_BYTES
    assert not faults_of(here.data)


async def test_huge_events_fill_no_server(here: Installation) -> None:
    # F39
    mark = secrets.token_hex(4)
    async with desk(here) as people:
        for number in range(HUGE_EVENTS):
            assert await put(people, f"{mark}-{number}", encoded(large(130_000))) == 201
        after = str(len(log_of(here.data)) - HUGE_EVENTS)
        before = forget_peak(here)
        page = await people.session.get("/v1/events", params={"after": after, "limit": "500"})
        whole = await page.json()
        assert [item["topic"] for item in whole["items"]] == ["pipeline.defined"] * HUGE_EVENTS
        async with AsyncExitStack() as open_ones:
            for _ in range(READERS):
                for path, accept in (
                    (f"/v1/events?after={after}", "text/event-stream"),
                    ("/v1/exports?format=ndjson", "application/x-ndjson"),
                ):
                    await open_ones.enter_async_context(stalled(people, path, accept))
            assert peak(here) - before < MOST_MEMORY
        lines = await exported(people)
    assert lines == len(log_of(here.data))


@asynccontextmanager
async def stalled(people: Desk, path: str, accept: str) -> AsyncGenerator[None]:
    """Ask for something long, and take only its beginning."""
    async with people.session.get(path, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert await answer.content.readany()
        yield
        # Whoever closes it would otherwise read the rest.
        answer.close()


async def exported(people: Desk) -> int:
    """Return how many lines an export of everything has."""
    async with people.session.get("/v1/exports", params={"format": "ndjson"}) as answer:
        return sum([1 async for _ in answer.content])


async def put(people: Desk, name: str, body: bytes) -> int:
    headers = {"Content-Type": "application/json"}
    path = f"/v1/pipelines/{name}"
    async with people.session.put(path, data=BytesIO(body), headers=headers) as answer:
        await answer.read()
        return answer.status


def large(size: int) -> Document:
    """Return a document without a name, whose texts have so many characters together."""
    texts = {f"T{n}": "x" * min(TEXT, size - start) for n, start in enumerate(range(0, size, TEXT))}
    return {"stages": [{"name": "work", "run": ["true"], "env": texts}]}


def encoded(document: Document) -> bytes:
    return json.dumps(document).encode()


def forget_peak(here: Installation) -> int:
    """Return how much memory a server has, and let its peak be counted from now on."""
    assert here.process
    Path(f"/proc/{here.process.pid}/clear_refs").write_text("5")
    return peak(here)


def peak(here: Installation) -> int:
    """Return the most memory that a server had, in bytes."""
    assert here.process
    status = Path(f"/proc/{here.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
