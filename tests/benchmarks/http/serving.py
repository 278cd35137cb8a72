"""A server in a process of its own: ours, or a bare aiohttp handler of the same answer.

Run as a program it serves until its input ends, and first prints one line of JSON: its port, its
token and the paths to ask for.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import msgspec
from aiohttp import web

from shipslog.api.services import Limits
from shipslog.api.signals import logs
from shipslog.api.wire.listener import runner_of
from shipslog.domain.access import Role
from tests.api.http.served import Served, serve

STATUSES = 400
"""So many deployments are asked for in turn."""
ENVIRONMENTS = 200
DOCUMENT = {
    "stages": [
        {"name": "build", "run": ["true"]},
        {"name": "lint", "run": ["true"]},
        {"name": "test", "run": ["true"], "needs": ["build", "lint"]},
        {"name": "package", "run": ["true"], "needs": ["test"]},
        {"name": "upload", "run": ["true"], "needs": ["package"]},
    ]
}
REQUEST = {"pipeline": "web", "version": "1.0.0", "environment": "staging", "reason": "as planned"}
Told = Callable[[dict[str, Any]], Awaitable[None]]


async def ours(limits: Limits, nowhere: BinaryIO, told: Told) -> None:
    """Serve our API over SQLite, with some deployments in it."""
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder), limits) as served:
            await define(served)
            logs.configure(nowhere)
            paths = [(await served.deploy())["links"]["self"] for _ in range(STATUSES)]
            token = served.tokens[Role.ADMIN]
            await told({"port": served.port, "token": token, "paths": paths})


async def define(served: Served) -> None:
    """Define what is deployed, and where: five stages, no worker."""
    environment = {"platform": {"kind": "processes"}, "history_limit": 50}
    for name in ("staging", *map(environment_of, range(ENVIRONMENTS))):
        assert (await served.put(f"/v1/environments/{name}", environment)).status == 201
    assert (await served.put("/v1/pipelines/web", DOCUMENT)).status == 201


def environment_of(number: int) -> str:
    """Return one environment after the other, so that no line of deployments grows long."""
    return f"e{number % ENVIRONMENTS}"


async def bare(body: bytes, told: Told) -> None:
    """Serve a handler that looks one answer up in memory, or takes one document in."""
    known = [str(uuid4()) for _ in range(STATUSES)]
    answers = dict.fromkeys(known, body)

    async def status(request: web.Request) -> web.Response:
        return web.Response(body=answers[request.match_info["id"]], content_type="application/json")

    async def take(request: web.Request) -> web.Response:
        msgspec.json.decode(await request.read())
        return web.Response(body=body, status=202, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/deployments/{id}", status)
    app.router.add_post("/v1/deployments", take)
    runner = runner_of(app, Limits())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    paths = [f"/v1/deployments/{one}" for one in known]
    await told({"port": runner.addresses[0][1], "token": "none", "paths": paths})
    await runner.cleanup()


async def until_input_ends(said: dict[str, Any]) -> None:
    """Say where the server is, and wait until nobody needs it."""
    sys.stdout.write(msgspec.json.encode(said | {"kind": sys.argv[1]}).decode() + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(kind: str) -> None:
    """Serve `bare` (its body from the environment), `database` (it keeps no answer) or ours."""
    if kind == "bare":
        asyncio.run(bare(os.environ["BODY"].encode(), until_input_ends))
    else:
        limits = Limits(ready_bytes=0) if kind == "database" else Limits()
        with Path(os.devnull).open("ab") as nowhere:
            asyncio.run(ours(limits, nowhere, until_input_ends))


if __name__ == "__main__":
    main(sys.argv[1])
