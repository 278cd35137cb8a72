"""Streams: aggregates as they stand in the log, cached and caught up when asked for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from .errors import NotFoundError
from .event import Recorded
from .ports import Log
from .transaction import Aggregate, Kind, Transaction, empty, fold

CACHED_STREAMS = 4096


class Loaded(NamedTuple):
    """A state, and when its newest event occurred."""

    state: Aggregate
    last_at: datetime | None


class Streams:
    """A bounded cache of folds; the log is asked for what is newer at every load."""

    def __init__(self, log: Log, capacity: int = CACHED_STREAMS) -> None:
        self._log = log
        self._capacity = capacity
        self._cache: OrderedDict[str, Loaded] = OrderedDict()

    async def load(self, kind: type[Kind], stream: str) -> Kind:
        """Return a stream's state now; its version is 0 where nothing was written."""
        loaded = await self._caught_up(stream)
        if not isinstance(loaded.state, kind):
            raise TypeError(stream)
        return loaded.state

    async def existing(self, kind: type[Kind], stream: str) -> Kind:
        """Return a stream's state now; NotFoundError where nothing was written."""
        state = await self.load(kind, stream)
        if state.version == 0:
            raise NotFoundError(kind=stream.partition(":")[0])
        return state

    async def into(self, transaction: Transaction, *streams: str) -> None:
        """Load streams into a transaction that will write to them."""
        for loaded in await asyncio.gather(*map(self._caught_up, streams)):
            transaction.load(*loaded)

    async def at_hand(self, transaction: Transaction, *streams: str) -> None:
        """Load streams into a transaction as they were last seen; what has moved is a conflict."""
        for stream in streams:
            transaction.load(*(self._cache.get(stream) or await self._caught_up(stream)))

    def learn(self, events: Iterable[Recorded]) -> None:
        """Fold what was just stored, so that it need not be read back."""
        for recorded in events:
            loaded = self._cache.get(recorded.header.stream)
            if loaded and loaded.state.version == recorded.header.stream_version - 1:
                self._keep(recorded.header.stream, loaded, (recorded,))

    async def _caught_up(self, stream: str) -> Loaded:
        loaded = self._cache.get(stream) or Loaded(empty(stream), None)
        newer = await self._log.stream(stream, after=loaded.state.version)
        return self._keep(stream, loaded, newer)

    def _keep(self, stream: str, loaded: Loaded, newer: Iterable[Recorded]) -> Loaded:
        state, last_at = loaded
        for recorded in newer:
            state = fold(state, recorded.fact)
            last_at = recorded.header.occurred_at
        loaded = Loaded(state, last_at)
        known = self._cache.get(stream)
        if state.version and (known is None or known.state.version <= state.version):
            self._cache[stream] = loaded
            self._cache.move_to_end(stream)
            if len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return loaded
