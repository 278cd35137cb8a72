"""A planted secret is used, printed and died with, and stands nowhere afterwards (I44)."""

import itertools
import re
import secrets
import shutil
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from shipslog.api.client import Client, new_key

from .crashing import faulty, processes
from .crashing.faults import LAB, all_files, commands, redeployed, service, until
from .documents import Document, environment, pipeline
from .installation import Installation, define, deployed, ended, free_address, request

pytestmark = pytest.mark.system

TELLS = """
echo "$VARIABLE"; echo "$CONTENT" >&2
sh -c "echo as an argument: $VARIABLE"
printf "%s" "$CONTENT" | dd bs=3 2>/dev/null
printf "%s" "$VARIABLE" | dd bs=1 2>/dev/null
"""
LAST_WORDS = 'echo "my last words: $CONTENT"; exit 7'


class Planted:
    """Two secrets, one in the server's environment and one in a file; and where they are named."""

    def __init__(self, folder: Path) -> None:
        self.variable, self.content = (f"planted-{secrets.token_hex(12)}" for _ in range(2))
        self.file = folder / "planted"
        self.file.write_text(f"{self.content}\n")
        self.env: Document = {
            "VARIABLE": {"secret": "env:PLANTED"},
            "CONTENT": {"secret": f"file:{self.file}"},
        }

    def is_in(self, said: bytes) -> bool:
        return self.variable.encode() in said or self.content.encode() in said


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


@pytest.fixture
def here(tmp_path: Path, planted: Planted) -> Iterator[Installation]:
    here = Installation(tmp_path)
    here.environment["PLANTED"] = planted.variable
    try:
        here.start()
        yield here
    finally:
        here.end()


@pytest.fixture
def source(tmp_path: Path) -> str:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(faulty.__file__, folder)
    return str(folder)


async def test_a_planted_secret_stands_nowhere(
    here: Installation, planted: Planted, source: str, tmp_path: Path
) -> None:
    async with here.client() as client:
        await define(client, *documents(source, planted))
        used = [
            await stages_tell(client),
            await a_command_is_aborted(client, planted),
            await a_service_dies(client, source, planted),
            *await a_service_is_restored_and_taken_back(client, here, source, planted),
        ]
        output = await client.output(used[0], "tells")
    assert output.count(b"***") == 5
    told = {path: said async for path, said in every_answer(here, used)}
    assert len(told) > 5 * len(used)
    assert not [path for path, said in told.items() if planted.is_in(said)]
    here.end()
    files = all_files(tmp_path)
    del files[planted.file]
    assert {"ledger.db", "views.db", "agent.log", "server.log"} < {path.name for path in files}
    assert not [path for path, content in files.items() if planted.is_in(content)]
    token = stored(here)["token"].encode()
    assert [path.name for path, content in files.items() if token in content] == ["config.toml"]


def documents(source: str, planted: Planted) -> list[Document]:
    """Return what uses the secrets."""
    tells = {"name": "tells", "run": ["sh", "-c", TELLS], "env": planted.env}
    fails = {
        "name": "fails",
        "run": ["sh", "-c", 'echo "$VARIABLE" >&2; exit 3'],
        "env": planted.env,
        "needs": ["tells"],
    }
    return [
        environment(LAB, web=free_address()),
        pipeline("tells", tells, fails),
        commands("hangs", "sh", "-c", 'echo "$CONTENT"; sleep 600', env=planted.env),
        service("web", source, "tells", "VARIABLE", env=planted.env),
    ]


async def stages_tell(client: Client) -> str:
    status = await deployed(client, "tells", "1.0.0", LAB)
    assert status["status"] == "failed"
    return status["id"]


async def a_command_is_aborted(client: Client, planted: Planted) -> str:
    asked = await request(client, "hangs", "1.0.0", LAB)
    await until(lambda: processes.those_that_say("sleep 600"))
    assert not processes.those_that_say(planted.content)
    await client.act(asked["id"], "abort", {}, key=new_key())
    (status,) = await ended(client, [asked["id"]])
    assert status["status"] == "aborted"
    return status["id"]


async def a_service_dies(client: Client, source: str, planted: Planted) -> str:
    command = ["sh", "-c", LAST_WORDS, "{port}"]
    status = await redeployed(client, service("web", source, command=command, env=planted.env))
    assert status["status"] == "failed"
    assert "my last words: ***" in str(status["stages"])
    return status["id"]


async def a_service_is_restored_and_taken_back(
    client: Client, here: Installation, source: str, planted: Planted
) -> list[str]:
    web = service("web", source, "tells", "VARIABLE", env=planted.env)
    first = await redeployed(client, web)
    second = await redeployed(client, service("web", source, "tells", "CONTENT", env=planted.env))
    agent = processes.agent_of(here.data)
    assert agent
    processes.kill(agent)
    restored = "/v1/events?topic=target.restored"
    async for _ in repeated(client, restored):
        break
    asked = await client.act(second["id"], "rollback", {}, key=new_key())
    (back,) = await ended(client, [asked["id"]])
    statuses = [one["status"] for one in (first, second, back)]
    assert statuses == ["succeeded", "succeeded", "succeeded"]
    return [one["id"] for one in (first, second, back)]


async def repeated(client: Client, path: str) -> AsyncIterator[object]:
    """Yield the items of a list, again and again."""
    while True:
        for item in (await client.get(path)).document["items"]:
            yield item


async def every_answer(here: Installation, used: list[str]) -> AsyncIterator[tuple[str, bytes]]:
    """Yield path and body of everything that the server has to say."""
    values = {
        "environment": [LAB],
        "service": ["web", "tells", "hangs"],
        "id": used,
        "name": [LAB, "web", "tells", "hangs", "fails", "deploy.start"],
    }
    headers = {"Authorization": f"Bearer {stored(here)['token']}"}
    async with aiohttp.ClientSession(stored(here)["url"], headers=headers) as session:
        async with session.get("/openapi.json") as answer:
            paths = (await answer.json())["paths"]
        for path in (path for path, verbs in paths.items() if "get" in verbs):
            names = re.findall(r"{(\w+)}", path)
            limit = {"limit": 500} if path.endswith("/events") else {}
            for filled in itertools.product(*(values[name] for name in names)):
                where = path.format(**dict(zip(names, filled, strict=True)))
                async with session.get(where, params=limit) as answer:
                    yield where, await answer.read()


def stored(here: Installation) -> dict[str, str]:
    return tomllib.loads((here.configuration / "shipslog/config.toml").read_text())
