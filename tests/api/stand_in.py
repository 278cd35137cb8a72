"""A stand-in for the server: answers the contract's documents, so that a client can be watched.

It knows no rule of a ledger. Tests of what the product does run against the product.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

ID = "019aa000-0000-7000-8000-000000000001"
AT = "2026-11-03T14:03:00.500000Z"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def stage(name: str, status: str = "pending", **changes: Any) -> dict[str, Any]:
    before = {"name": name, "status": status, "attempt": 0 if status == "pending" else 1}
    return before | {"started_at": None, "ended_at": None, "message": None} | changes


def deployment(status: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "pipeline": "web",
        "pipeline_version": 3,
        "service": "web",
        "version": "1.4.0",
        "environment": "staging",
        "status": status,
        "plan_hash": "sha256:" + "0" * 64,
        "current_stage": 2,
        "total_stages": 3,
        "stages": [
            stage("build", "succeeded", started_at=AT, ended_at=AT),
            stage("deploy.start", "running", started_at=AT),
            stage("deploy.switch"),
        ],
        "waiting_on": [],
        "requested_by": "user:alice",
        "reason": "as agreed",
        "requested_at": AT,
        "started_at": AT,
        "completed_at": None,
        "rollback": None,
        "rollback_of": None,
        "rolled_back_by": None,
        "retry_of": None,
        "outcome_kind": None,
        "live": {"revision": "r1", "version": "1.3.9"},
        "position": 3,
        "links": {"self": f"/v1/deployments/{ID}", "events": f"/v1/deployments/{ID}/events"},
    } | changes


def event(position: int, topic: str, **payload: Any) -> dict[str, Any]:
    return {
        "position": position,
        "stream": f"deployment:{ID}",
        "stream_version": position,
        "topic": topic,
        "event_version": 1,
        "occurred_at": AT,
        "recorded_at": AT,
        "actor": {"kind": "user", "id": "sub_1", "name": "alice"},
        "environment": "staging",
        "service": "web",
        "deployment": ID,
        "causation": None,
        "correlation": ID,
        "fence": None,
        "payload": {"salt": "00", **payload},
    }


class StandIn:
    """One deployment, its events, and whatever else a test plants."""

    def __init__(self) -> None:
        self.document = deployment()
        self.events = [
            event(1, "deployment.requested"),
            event(2, "deployment.started"),
            event(3, "deployment.stage_started", stage="deploy.start", attempt=1),
        ]
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.planted: dict[tuple[str, str], Handler] = {}
        self.port = 0
        self._runs = 0
        self._moved = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        self._runs += 1
        async with self._moved:
            self._moved.notify_all()
        await self._runner.cleanup()

    def plant(self, method: str, path: str, answer: object, status: int = 200) -> None:
        """Answer a request with a document."""

        async def handler(_: web.Request) -> web.Response:
            kind = "application/problem+json" if status >= 400 else "application/json"
            return web.Response(text=json.dumps(answer), status=status, content_type=kind)

        self.planted[method, path] = handler

    def refuse(self, method: str, path: str, status: int, **problem: Any) -> None:
        slug = problem.pop("slug", "refused")
        document = {"type": f"urn:shipslog:problem:{slug}", "detail": "It cannot be.", **problem}
        self.plant(method, path, document, status)

    async def move(self, topic: str, *, status: str = "running", **changes: Any) -> None:
        """Write one more event, and let the document say so."""
        position = len(self.events) + 1
        self.document = self.document | changes | {"status": status, "position": position}
        self.events.append(event(position, topic))
        async with self._moved:
            self._moved.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until a request has come that makes it so."""
        async with self._moved:
            await asyncio.wait_for(self._moved.wait_for(is_so), 20)

    def streams(self) -> list[web.Request]:
        return [r for r in self.requests if r.headers.get("Accept") == "text/event-stream"]

    def reads(self) -> int:
        """How often the status document was read."""
        return sum(r.path == f"/v1/deployments/{ID}" for r in self.requests)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        async with self._moved:
            self._moved.notify_all()
        if planted := self.planted.get((request.method, request.path)):
            return await planted(request)
        if request.path == "/v1/events" and request in self.streams():
            return await self._stream(request)
        if request.path in {"/v1/deployments", f"/v1/deployments/{ID}"}:
            return web.json_response(self.document, headers={"ETag": '"3"'})
        if request.path.startswith(f"/v1/deployments/{ID}/"):
            return web.json_response(self.document, status=202)
        return web.json_response({"type": "urn:shipslog:problem:not-found"}, status=404)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        last = request.headers.get("Last-Event-ID") or request.query.get("after")
        sent = len(self.events) if last is None else int(last)
        await response.write(b": ping\r\n\r\n")
        run = self._runs
        while run == self._runs:
            for one in self.events[sent:]:
                text = f"id: {one['position']}\r\ndata: {json.dumps(one)}\r\n\r\n"
                await response.write(text.encode())
            sent = len(self.events)
            async with self._moved:
                while len(self.events) == sent and run == self._runs:
                    await self._moved.wait()
        return response
