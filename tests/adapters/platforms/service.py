"""A service to deploy in tests: says which version answers; can be slow, wrong or a WebSocket."""

import argparse
import asyncio
import contextlib
import os
import signal

from aiohttp import WSMsgType, web


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="1")
    options = parser.parse_args()
    app = web.Application(client_max_size=0)
    app["version"] = options.version
    app.add_routes(
        [
            web.get("/", version),
            web.get("/headers", headers),
            web.get("/status/{code}", status),
            web.get("/slow/{seconds}", slow),
            web.get("/stream/{pieces}", stream),
            web.post("/echo", echo),
            web.get("/die", die),
            web.get("/ws", websocket),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=options.port, backlog=1024, print=None)


async def version(request: web.Request) -> web.Response:
    return web.Response(text=request.app["version"])


async def headers(request: web.Request) -> web.Response:
    return web.json_response([[name, value] for name, value in request.headers.items()])


async def status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["code"]))


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.match_info["seconds"]))
    return await version(request)


async def stream(request: web.Request) -> web.StreamResponse:
    """Send pieces, the next one only when asked to by nobody: they must arrive one by one."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for piece in range(int(request.match_info["pieces"])):
        await answer.write(b"%d\n" % piece)
        await asyncio.sleep(0.05)
    return answer


async def echo(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"X-Version": request.app["version"]})
    await answer.prepare(request)
    async for piece in request.content.iter_any():
        await answer.write(piece)
    return answer


async def die(_: web.Request) -> web.Response:
    os.kill(os.getpid(), signal.SIGKILL)
    return web.Response()


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Echo; `close 4001` closes with that code."""
    socket = web.WebSocketResponse(protocols=["echo"])
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.data.startswith("close "):
                await socket.close(code=int(message.data.removeprefix("close ")))
            elif message.type == WSMsgType.TEXT:
                await socket.send_str(request.app["version"] + " " + message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
    return socket


if __name__ == "__main__":
    main()
