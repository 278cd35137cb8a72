"""Projector: folds the log into views, and folds them anew while they are read.

All work on the database is done in a thread of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ...domain.errors import NotFoundError
from ...domain.event import Recorded
from .read_model import ReadModel
from .views import Parked, Views

LEAST_PAGE, LARGEST_PAGE = 500, 2000

Result = TypeVar("Result")


class Source(Protocol):
    """The reading half of `Log`."""

    async def stream(self, stream: str, *, after: int = 0) -> Sequence[Recorded]:
        """Return one stream's events above a stream version, in order."""
        ...

    async def page(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Return at most `limit` events above a position, in order."""
        ...

    async def head(self) -> int:
        """Return the position of the newest event, 0 for an empty log."""
        ...


class Rebuilt(msgspec.Struct, frozen=True):
    """What a rebuild did: up to which position, from how many events, in how many seconds."""

    position: int
    events: int
    seconds: float


class Observer:
    """Is told what a follower does; override what is of interest."""

    def applied(self, position: int, head: int, seconds: float) -> None:
        """Learn that a batch is visible up to `position` of `head`, and how long it took."""

    def stopped(self, parked: Parked) -> None:
        """Learn that a read model cannot fold a stream any further."""

    def failed(self, error: Exception) -> None:
        """Learn that a batch could not be read or stored; it is tried again."""


class Projector:
    """Brings views to the head of a log when asked to; also beside a server that runs."""

    def __init__(self, log: Source, views: Views, observer: Observer | None = None) -> None:
        self.views = views
        self.position = 0
        """Everything up to here is visible in the views."""
        self.head = 0
        """Where the log stood when it was last looked at."""
        self.listeners: list[Callable[[AbstractSet[str] | None], None]] = []
        """Learn whose streams' rows are new, None: all, before anybody who waits is told."""
        self._log = log
        self._observer = observer or Observer()
        self._turn = asyncio.Lock()
        self._rebuilding = asyncio.Lock()
        self._thread = _Thread()

    @property
    def lag(self) -> int:
        """How many events are in the log and not yet in the views, as last seen."""
        return max(0, self.head - self.position)

    async def open(self) -> int:
        """Open the views and return their position; begin anew where they tell of another log."""
        await self._thread.do(self.views.open)
        standing = await self._thread.do(self.views.standing)
        if standing.position:
            newest = await self._log.page(after=standing.position - 1, limit=1)
            if not newest or newest[0].header.payload_sha256 != standing.newest:
                await self._thread.do(self.views.clear)
        self.position = (await self._thread.do(self.views.standing)).position
        self.head = await self._log.head()
        for one in await self._thread.do(self.views.parked):
            self._observer.stopped(one)
        return self.position

    async def close(self) -> None:
        """Finish what is under way and close the views."""
        await self._thread.do(self.views.close)
        self._thread.close()

    async def catch_up(self) -> int:
        """Apply everything that is in the log by now and return the position reached."""
        size = LEAST_PAGE
        while True:
            async with self._turn:
                taken = await self._take_page(size)
            if taken < size:
                return self.position
            size = min(2 * size, LARGEST_PAGE)

    async def rebuild(self) -> Rebuilt:
        """Fold the whole log beside the views, which are read and follow on, and swap them."""
        async with self._rebuilding:
            began = time.monotonic()
            path = self.views.path
            beside = path and path.with_name(path.name + ".new")
            _discard(beside)
            new = Views(beside, self.views.models, is_lasting=False)
            try:
                async with _threaded(new) as thread:
                    await _fill(new, self._log, thread)
                    async with self._turn:
                        reached = await _fill(new, self._log, thread)
                        await self._thread.do(partial(self.views.become, new))
                        self._tell(None)
                        self._advance(reached)
            finally:
                _discard(beside)
            return Rebuilt(reached, reached, time.monotonic() - began)

    async def rebuild_stream(self, stream: str) -> Rebuilt:
        """Fold anew every row that depends on one stream; NotFoundError for one without events."""
        began = time.monotonic()
        async with self._turn:
            events = await self._log.stream(stream)
            if not events:
                raise NotFoundError(kind="stream")
            models = [m for m in self.views.models if stream.startswith(m.streams)]
            folded = [await self._refold(model, events) for model in models]
            self._tell(None)
        return Rebuilt(self.position, sum(folded), time.monotonic() - began)

    async def _take_page(self, size: int) -> int:
        began = time.monotonic()
        events = await self._log.page(after=self.position, limit=size)
        if events:
            position, parked = await self._thread.do(partial(self.views.apply, events))
            self._tell({e.header.stream for e in events})
            self._advance(position)
            for one in parked:
                self._observer.stopped(one)
            self._observer.applied(position, self.head, time.monotonic() - began)
        return len(events)

    def _tell(self, streams: AbstractSet[str] | None) -> None:
        for listener in self.listeners:
            listener(streams)

    def _advance(self, position: int) -> None:
        self.position = max(self.position, position)
        self.head = max(self.head, self.position)

    async def _refold(self, model: ReadModel, stream: Sequence[Recorded]) -> int:
        header = stream[0].header
        streams: set[str] = set()
        folded = 0
        part = Views(None, [model], is_lasting=False)
        async with _threaded(part) as thread:
            async for page in _one_page(stream) if model.is_by_stream else self._pages():
                mine = [e for e in page if model.belongs(e.header, header)]
                mine = [e for e in mine if e.position <= self.position]
                streams |= {e.header.stream for e in mine}
                folded += len(mine)
                await thread.do(partial(part.take, mine))
            rows = model.rows_of(header)
            await self._thread.do(partial(self.views.exchange, rows, streams, part))
        return folded

    async def _pages(self) -> AsyncIterator[Sequence[Recorded]]:
        position = 0
        while position < self.position:
            page = await self._log.page(after=position, limit=LARGEST_PAGE)
            yield page
            position = page[-1].position if page else self.position


class _Thread:
    """The one thread in which some views are worked on, one job after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "views")

    async def do(self, job: Callable[[], Result]) -> Result:
        """Do a job; where the caller is cancelled, the job is finished all the same, first."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        self._executor.shutdown()


@asynccontextmanager
async def _threaded(views: Views) -> AsyncGenerator[_Thread]:
    thread = _Thread()
    try:
        await thread.do(views.open)
        yield thread
    finally:
        await thread.do(views.close)
        thread.close()


async def _fill(views: Views, log: Source, thread: _Thread) -> int:
    position = (await thread.do(views.standing)).position
    while page := await log.page(after=position, limit=LARGEST_PAGE):
        position = (await thread.do(partial(views.apply, page))).position
    return position


async def _one_page(page: Sequence[Recorded]) -> AsyncIterator[Sequence[Recorded]]:
    yield page


def _discard(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)
