"""Projector: folds the log into views, and folds them anew while they are read.

All work on the database is done in a thread of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec

from ...domain.errors import NotFoundError
from ...domain.event import Recorded
from .folding import Parked
from .part import Part
from .source import Ahead, Source
from .threads import WorkingThread
from .views import Standing, Views

LEAST_PAGE, LARGEST_PAGE = 500, 2000
LATE_SECONDS = 10.0
"""A batch that takes so long is told of."""
OTHERS_SECONDS = 0.2
"""How long to wait for another process that rebuilds, or for one that reads for long."""


class Rebuilt(msgspec.Struct, frozen=True):
    """What a rebuild did: up to which position, from how many events, in how many seconds."""

    position: int
    events: int
    seconds: float


class Observer:
    """Is told what a follower does; override what is of interest."""

    def applied(self, position: int, head: int, seconds: float) -> None:
        """Learn that a batch is visible up to `position` of `head`, and how long it took."""

    def began_anew(self, seen: int, head: int) -> None:
        """Learn that the log ends at `head`, and has not the event that the views saw at `seen`."""

    def late(self, first: int, last: int) -> None:
        """Learn that a batch from one position to another takes long: perhaps it never ends."""

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
        self._thread = WorkingThread()
        self._is_complete = False

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
                self._observer.began_anew(standing.position, await self._log.head())
                await self._thread.do(self.views.clear)
        self.position = (await self._thread.do(self.views.standing)).position
        self.head = await self._log.head()
        for one in await self._thread.do(self.views.parked):
            self._observer.stopped(one)
        return self.position

    async def close(self) -> None:
        """Finish what is under way and close the views."""
        await self.views.aclose()
        await self._thread.do(self.views.close)
        self._thread.close()

    async def catch_up(self) -> int:
        """Apply everything that is in the log by now and return the position reached."""
        size, ahead = LEAST_PAGE, Ahead(self._log)
        try:
            while True:
                async with self._turn:
                    events = await ahead.page(self.position, size)
                    larger = min(2 * size, LARGEST_PAGE)
                    is_full = len(events) == size
                    # A file is read by this process itself: two threads that each get on row by row
                    # hand the interpreter to and fro, and take longer than one.
                    if is_full and self.views.is_shared:
                        ahead.begin(events[-1].position, larger)
                    if events:
                        await self._apply(events)
                if not is_full:
                    await self._complete()
                    return self.position
                size = larger
        finally:
            ahead.cancel()

    async def rebuild(self) -> Rebuilt:
        """Fold the whole log beside the views, which are read and follow on, and swap them."""
        async with self._rebuilding:
            began = time.monotonic()
            async with self._beside() as (new, thread):
                while True:
                    await _fill(new, self._log, thread)
                    await thread.do(new.complete)
                    async with self._held():
                        reached = await _fill(new, self._log, thread)
                        if await self._thread.do(partial(self.views.become, new)):
                            break
                    await asyncio.sleep(OTHERS_SECONDS)
                self._tell(None)
                self._advance(reached)
            return Rebuilt(reached, reached, time.monotonic() - began)

    async def rebuild_stream(self, stream: str) -> Rebuilt:
        """Fold anew every row that depends on one stream; NotFoundError for one without events."""
        began = time.monotonic()
        events = await self._log.stream(stream)
        if not events:
            raise NotFoundError(kind="stream")
        header = events[0].header
        models = [m for m in self.views.models if stream.startswith(m.streams)]
        async with self._rebuilding, AsyncExitStack() as closing:
            parts = [Part(model, header, self._log) for model in models]
            for part in parts:
                await closing.enter_async_context(part)
                await part.fold((await self._standing()).position)
            # By now there is little left to fold, for which everybody has to wait.
            async with self._held():
                position = (await self._standing()).position
                for part in parts:
                    await part.fold(position)
                    await self._thread.do(partial(part.replace, self.views))
            self._tell(None)
        return Rebuilt(position, sum(part.folded for part in parts), time.monotonic() - began)

    async def _apply(self, events: Sequence[Recorded]) -> None:
        began = time.monotonic()
        # What waits, for whatever it is, cannot be ended: at which events it is can be said.
        first, last = events[0].position, events[-1].position
        loop = asyncio.get_running_loop()
        late = loop.call_later(LATE_SECONDS, self._observer.late, first, last)
        try:
            job = partial(self.views.apply, events)
            position, parked = await self._thread.fold(self.views.folding, job)
        finally:
            late.cancel()
        self._tell({e.header.stream for e in events})
        self._advance(position)
        for one in parked:
            self._observer.stopped(one)
        self._observer.applied(position, self.head, time.monotonic() - began)

    async def _complete(self) -> None:
        if not self._is_complete:
            async with self._turn:
                await self._thread.do(self.views.complete)
            self._is_complete = True

    def _tell(self, streams: AbstractSet[str] | None) -> None:
        for listener in self.listeners:
            listener(streams)

    def _advance(self, position: int) -> None:
        self.position = max(self.position, position)
        self.head = max(self.head, self.position)

    async def _standing(self) -> Standing:
        return await self._thread.do(self.views.standing)

    @asynccontextmanager
    async def _beside(self) -> AsyncGenerator[tuple[Views, WorkingThread]]:
        new, thread = self.views.beside(), WorkingThread()
        try:
            while not await thread.do(new.begin):  # noqa: ASYNC110 - another process is awaited
                await asyncio.sleep(OTHERS_SECONDS)
            yield new, thread
        finally:
            await thread.do(new.discard)
            thread.close()

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """Let nobody move the views meanwhile, here or in another process."""
        async with self._turn:
            is_done = False
            try:
                await self._thread.do(self.views.hold)
                yield
                is_done = True
            finally:
                await self._thread.do(partial(self.views.let_go, keep=is_done))


async def _fill(views: Views, log: Source, thread: WorkingThread) -> int:
    position = (await thread.do(views.standing)).position
    while page := await log.page(after=position, limit=LARGEST_PAGE):
        position = (await thread.fold(views.folding, partial(views.apply, page))).position
    return position
