"""The HTTP client: a change is sent until its answer is known, and carried out once."""

import asyncio
import json
from contextlib import aclosing

import pytest
from aiohttp import web

from shipslog.api.client import Client
from shipslog.api.user_config import Server
from shipslog.api.verbs.following import follow
from shipslog.api.wire.shapes import CutOffError, EventDocument, ProblemError, UnreachableError

from .stand_in import ID, StandIn, event


async def test_a_change_that_was_cut_off_is_sent_again_with_its_key(stand_in: StandIn) -> None:
    async def answer(request: web.Request) -> web.Response:
        if len(stand_in.requests) < 3:
            assert request.transport
            request.transport.close()
        return web.json_response(stand_in.document, status=202)

    stand_in.planted["POST", f"/v1/deployments/{ID}/abort"] = answer
    async with client(stand_in) as asking:
        assert (await asking.act(ID, "abort", {"reason": None}, key="k1"))["id"] == ID
    assert [r.headers["Idempotency-Key"] for r in stand_in.requests] == ["k1"] * 3
    assert stand_in.bodies[-1] == {}


async def test_an_unknown_outcome_is_asked_for_again(stand_in: StandIn) -> None:
    async def answer(_: web.Request) -> web.Response:
        if len(stand_in.requests) == 1:
            problem = {"type": "urn:shipslog:problem:outcome-unknown"}
            kind = "application/problem+json"
            return web.json_response(problem, status=503, content_type=kind)
        return web.json_response({"done": True})

    stand_in.planted["POST", "/v1/x"] = answer
    async with client(stand_in) as asking:
        assert (await asking.post("/v1/x", {})).document == {"done": True}
    first, second = (request.headers["Idempotency-Key"] for request in stand_in.requests)
    assert first == second


async def test_any_other_refusal_is_final_and_carries_its_document(stand_in: StandIn) -> None:
    stand_in.refuse("POST", "/v1/x", 503, slug="overloaded", hint=7)
    async with client(stand_in) as asking:
        with pytest.raises(ProblemError, match="It cannot be") as refused:
            await asking.post("/v1/x", {})
    assert (refused.value.status, refused.value.slug) == (503, "overloaded")
    assert refused.value.problem["hint"] == 7  # type: ignore[typeddict-item]
    assert len(stand_in.requests) == 1


async def test_two_calls_have_two_keys(stand_in: StandIn) -> None:
    stand_in.plant("POST", "/v1/x", {})
    async with client(stand_in) as asking:
        await asking.post("/v1/x", {})
        await asking.post("/v1/x", {})
    first, second = (request.headers["Idempotency-Key"] for request in stand_in.requests)
    assert first != second


async def test_no_server_is_known_at_once() -> None:
    async with Client(Server("http://127.0.0.1:1")) as asking:
        with pytest.raises(UnreachableError, match="refused"):
            await asking.get("/v1/targets")


async def test_a_token_follows_no_redirect(stand_in: StandIn) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{stand_in.url}/elsewhere"})

    stand_in.planted["GET", "/v1/targets"] = answer
    async with client(stand_in) as asking:
        with pytest.raises(ProblemError):
            await asking.get("/v1/targets")
    assert [r.path for r in stand_in.requests] == ["/v1/targets"]


async def test_names_stay_in_their_segment(stand_in: StandIn) -> None:
    async with client(stand_in) as asking:
        with pytest.raises(ProblemError):
            await asking.output("a/../b?c", "d#e")
    expected = "/v1/deployments/a%2F..%2Fb%3Fc/stages/d%23e/output"
    assert stand_in.requests[0].rel_url.raw_path == expected


async def test_a_large_event_arrives_whole(stand_in: StandIn) -> None:
    large = event(4, "deployment.requested", text="x" * 250_000)
    stand_in.events.append(large)
    async with client(stand_in) as asking:
        assert (await taken(asking, 4))[-1] == large


async def test_a_stream_over_several_data_lines_is_one_event(stand_in: StandIn) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        text = json.dumps(event(1, "target.held"), indent=1)
        lines = "".join(f"data: {line}\n" for line in text.splitlines())
        await response.write(f"retry: 5\nevent: target.held\nid: 1\n{lines}\n: ping\n\n".encode())
        return response

    stand_in.planted["GET", "/v1/events"] = answer
    async with client(stand_in) as asking:
        assert await taken(asking, 1) == [event(1, "target.held")]


async def test_a_stream_resumes_after_what_was_seen(stand_in: StandIn) -> None:
    async with client(stand_in) as asking, aclosing(follow(asking, {"after": 0})) as coming:
        seen: list[int] = []
        async with asyncio.timeout(20):
            async for one in coming:
                seen += [one["position"]] if one else []
                if len(seen) == 3:
                    await stand_in.__aexit__()
                    await stand_in.move("deployment.paused")
                    await stand_in.__aenter__()
                if len(seen) == 4:
                    break
    assert seen == [1, 2, 3, 4]
    assert stand_in.streams()[-1].headers["Last-Event-ID"] == "3"


async def test_a_stream_that_is_refused_is_not_asked_for_again(stand_in: StandIn) -> None:
    stand_in.refuse("GET", "/v1/events", 403)
    async with client(stand_in) as asking:
        with pytest.raises(ProblemError):
            await taken(asking, 1)
    assert len(stand_in.requests) == 1


async def test_a_cut_answer_is_an_error_of_the_connection(stand_in: StandIn) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport
        request.transport.close()
        return response

    stand_in.planted["GET", f"/v1/deployments/{ID}/stages/build/output"] = answer
    async with client(stand_in) as asking:
        with pytest.raises(CutOffError):
            await asking.output(ID, "build")


def client(stand_in: StandIn) -> Client:
    return Client(Server(stand_in.url, "token"))


async def taken(asking: Client, count: int) -> list[EventDocument]:
    events: list[EventDocument] = []
    async with aclosing(follow(asking, {"after": 0})) as coming, asyncio.timeout(20):
        async for one in coming:
            events += [one] if one else []
            if len(events) == count:
                break
    return events
