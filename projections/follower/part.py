"""Part: what one read model makes of one stream, folded in memory to take the place of its rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from ...domain.event import Header, Recorded
from .read_model import ReadModel
from .source import Source
from .sqlite import SqliteViews
from .threads import WorkingThread
from .views import Views

PAGE = 2000


class Part:
    """Rows that depend on the stream of a header; a context manager."""

    def __init__(self, model: ReadModel, header: Header, log: Source) -> None:
        self.folded = 0
        """How many events so far."""
        self._model = model
        self._header = header
        self._log = log
        self._position = 0
        self._streams: set[str] = set()
        self._views = SqliteViews(None, [model], is_lasting=False)
        self._thread = WorkingThread()

    async def __aenter__(self) -> Self:
        await self._thread.do(self._views.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._thread.do(self._views.close)
        self._thread.close()

    async def fold(self, upto: int) -> None:
        """Fold what is not folded yet, up to a position."""
        async for page in self._pages(upto):
            mine = [e for e in page if self._position < e.position <= upto]
            mine = [e for e in mine if self._model.belongs(e.header, self._header)]
            self._streams |= {e.header.stream for e in mine}
            self.folded += len(mine)
            await self._thread.fold(self._views.folding, partial(self._views.take, mine))
        self._position = upto

    def replace(self, views: Views) -> None:
        """Put these rows in the place of those in views."""
        views.exchange(self._model.rows_of(self._header), self._streams, self._views)

    async def _pages(self, upto: int) -> AsyncIterator[Sequence[Recorded]]:
        if self._model.is_by_stream:
            yield await self._log.stream(self._header.stream)
            return
        position = self._position
        while position < upto and (page := await self._log.page(after=position, limit=PAGE)):
            yield page
            position = page[-1].position
