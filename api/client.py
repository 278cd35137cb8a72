"""HTTP client: the API's documents, typed, and its refusals as the problem documents they are."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from errno import ECONNREFUSED
from typing import Any, NamedTuple, Self, cast
from urllib.parse import quote, urlencode

import aiohttp
import stamina
from yarl import URL

from .settings import BadSettingError
from .user_config import Server
from .wire.shapes import (
    CutOffError,
    Document,
    EventDocument,
    Page,
    Problem,
    ProblemError,
    Status,
    UnreachableError,
    is_transient,
)

ANSWER_SECONDS = 60.0
OPEN_SECONDS = 20.0
"""How long a request that was cut off is repeated."""
LONG_SECONDS = 3600.0
"""How long a document may take that is made of the whole log."""
SEARCH_SECONDS = 600.0
"""How long a download may bring nothing: where little matches, much is read for a line."""
SILENCE_SECONDS = 45.0
"""How long an event stream may say nothing; its heartbeat comes every 15 s."""
STREAM_BUFFER = 1024 * 1024
"""An event's payload is one line of at most 256 KiB."""

Param = str | int | None
Params = Mapping[str, Param]


class Answer(NamedTuple):
    """What the server said: the body, and the headers that matter."""

    document: Any
    etag: str | None
    position: int | None


class Download(NamedTuple):
    """A long answer that has begun."""

    position: int
    """As of which position of the log it is."""
    chunks: AsyncIterator[bytes]


def new_key() -> str:
    """Return an Idempotency-Key of its own."""
    return uuid.uuid4().hex


class Client:
    """Asks one server; used as an asynchronous context."""

    def __init__(self, server: Server) -> None:
        if not _is_address(server.url):
            raise BadSettingError(name="SHIPSLOG_URL", value=server.url, expected="an http URL")
        self._server = server
        headers = {"Accept": "application/json", "User-Agent": "shipslog"}
        if server.token:
            headers["Authorization"] = f"Bearer {server.token}"
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return self._server.url

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=5)
        # A stream holds its connection: a bound on them would let other calls wait for ever.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=self._headers,
            timeout=timeout,
            read_bufsize=STREAM_BUFFER,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, pipeline: str, version: str, environment: str, *, options: Params, key: str
    ) -> Status:
        """Ask for a deployment; `options` are artifact and reason. Return its status document."""
        wanted = {"pipeline": pipeline, "version": version, "environment": environment}
        answer = await self.post("/v1/deployments", _given(wanted | dict(options)), key=key)
        return cast("Status", answer.document)

    async def act(self, deployment: str, verb: str, body: Document, *, key: str) -> Status:
        """Abort, roll back, retry, approve…; return the status document of what came of it."""
        path = f"/v1/deployments/{segment(deployment)}/{verb}"
        return cast("Status", (await self.post(path, _given(body), key=key)).document)

    async def deployment(
        self, deployment: str, *, at: int | None = None, as_of: str | None = None
    ) -> Status:
        """Return the status document; `as_of` is an instant or a position."""
        path = f"/v1/deployments/{segment(deployment)}"
        return cast("Status", (await self.get(path, at=at, as_of=as_of)).document)

    async def page(self, path: str, **params: Param) -> Page:
        """Return one page of a list."""
        return cast("Page", (await self._answer("GET", _with(path, params), {})).document)

    async def items(self, path: str, **params: Param) -> AsyncIterator[Document]:
        """Yield the items of a list, page after page."""
        page = await self.page(path, **params)
        while True:
            for item in page["items"]:
                yield item
            if page["next"] is None:
                return
            page = await self.page(path, **params, cursor=page["next"])

    async def output(self, deployment: str, stage: str) -> bytes:
        """Return what a stage printed."""
        path = f"/v1/deployments/{segment(deployment)}/stages/{segment(stage)}/output"
        async with self._ask("GET", path, {"headers": {"Accept": "*/*"}}) as response:
            return await response.read()

    async def get(self, path: str, *, at: int | None = None, **params: Param) -> Answer:
        """Read a document; `at` is a position that it has to have seen."""
        headers = {} if at is None else {"Ledger-Position": str(at)}
        return await self._answer("GET", _with(path, params), {"headers": headers})

    async def post(self, path: str, body: Document, *, key: str | None = None) -> Answer:
        """Change something, at most once however often it has to be sent."""
        headers = {"Idempotency-Key": key or new_key()}
        return await self._answer("POST", path, {"json": body, "headers": headers})

    async def put(self, path: str, body: Document, *, etag: str | None) -> Answer:
        """Define something; `etag` is of the version it takes the place of, None of a new one."""
        headers = {} if etag is None else {"If-Match": etag}
        return await self._answer("PUT", path, {"json": body, "headers": headers})

    async def delete(self, path: str) -> Answer:
        """Take something back."""
        return await self._answer("DELETE", path, {})

    async def stream(
        self, params: Params, last_event_id: int | None
    ) -> AsyncIterator[EventDocument | None]:
        """Yield the log's events as they come, None once connected, until the server ends it.

        Errors: UnreachableError or CutOffError, after which `last_event_id` resumes.
        """
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS)
        options = {"headers": headers, "timeout": timeout}
        async with self._ask("GET", _with("/v1/events", params), options) as response:
            yield None
            async for event in _events(response.content):
                yield event

    @asynccontextmanager
    async def download(self, path: str, params: Params) -> AsyncGenerator[Download]:
        """Give an answer as it comes. Errors: CutOffError where it breaks off, also meanwhile."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SEARCH_SECONDS)
        options = {"headers": {"Accept": "*/*"}, "timeout": timeout}
        async with self._ask("GET", _with(path, params), options) as response:
            position = int(response.headers.get("Ledger-Position", "0"))
            yield Download(position, response.content.iter_any())

    async def long_read(self, path: str, params: Params) -> Document:
        """Read a document that takes the server as long as all of its log may take."""
        timeout = aiohttp.ClientTimeout(total=LONG_SECONDS, sock_connect=5)
        answer = await self._answer("GET", _with(path, params), {"timeout": timeout})
        return cast("Document", answer.document)

    async def _answer(self, method: str, path: str, options: Document) -> Answer:
        is_open = False

        def is_worth_repeating(error: Exception) -> bool:
            # Once a request may have been carried out, its answer is worth waiting for.
            nonlocal is_open
            is_open = is_open or _leaves_open(error)
            return is_open and is_transient(error)

        async for attempt in stamina.retry_context(
            on=is_worth_repeating, attempts=None, timeout=OPEN_SECONDS, wait_max=1.0
        ):
            with attempt:
                async with self._ask(method, path, options) as response:
                    return await _read(response)
        raise AssertionError  # stamina returns or raises

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, options: Document
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        url = URL(self._server.url + path, encoded=True)
        try:
            async with self._open.request(
                method, url, allow_redirects=False, **options
            ) as response:
                if response.status >= 300:  # noqa: PLR2004 - nor is a redirect an answer
                    raise ProblemError(response.status, await _problem(response))
                yield response
        except aiohttp.ConnectionTimeoutError:
            raise UnreachableError(self._server.url, "it takes too long to connect") from None
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError(self._server.url, _why(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise CutOffError(self._server.url, "the connection was cut off") from None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "a client is used inside `async with`"
            raise RuntimeError(message)
        return self._session


def segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")


def _is_address(url: str) -> bool:
    try:
        parsed = URL(url)
    except ValueError:
        return False
    return parsed.scheme in {"http", "https"} and bool(parsed.host) and url.isprintable()


def _given(fields: Mapping[str, Any]) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def _with(path: str, params: Params) -> str:
    given = _given(params)
    return f"{path}?{urlencode(given)}" if given else path


def _leaves_open(error: Exception) -> bool:
    unknown = isinstance(error, ProblemError) and error.slug == "outcome-unknown"
    return unknown or isinstance(error, CutOffError)


def _why(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    return "the connection is refused" if error.errno == ECONNREFUSED else "no connection"


async def _read(response: aiohttp.ClientResponse) -> Answer:
    text = await response.text()
    position = response.headers.get("Ledger-Position", "")
    return Answer(
        json.loads(text) if text else None,
        response.headers.get("ETag"),
        int(position) if position.isdecimal() else None,
    )


async def _problem(response: aiohttp.ClientResponse) -> Problem:
    if response.content_type == "application/problem+json":
        problem = json.loads(await response.read())
        if isinstance(problem, dict):
            return cast("Problem", problem)
    return {"type": "about:blank", "title": f"What answers is no Shipslog: HTTP {response.status}"}


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[EventDocument]:
    data: list[str] = []
    async for raw in content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data.clear()
