"""Streams: aggregates as they stand in the log, kept in memory and caught up when asked for.

What is only at hand may have moved on in the log: whoever decides on it finds out at the append,
which compares versions, and has it caught up then.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
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
    is_moving: bool = False
    """Whether it had moved on when it was read: others write to it, of which is not heard here."""


class Streams:
    """A bounded cache of folds; who follows the log lets it learn what others write."""

    def __init__(self, log: Log, capacity: int = CACHED_STREAMS) -> None:
        self._log = log
        self._capacity = capacity
        self._cache: OrderedDict[str, Loaded] = OrderedDict()
        self._loading: Counter[str] = Counter()
        self._heard: dict[str, int] = {}
        """The newest version heard of each stream that is just being read."""

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
            transaction.load(loaded.state, loaded.last_at)

    async def seen(self, kind: type[Kind], stream: str) -> Kind:
        """Return a stream's state as it was last seen; the log is asked only for what never was."""
        loaded = self._cache.get(stream) or await self._caught_up(stream)
        if not isinstance(loaded.state, kind):
            raise TypeError(stream)
        return loaded.state

    async def at_hand(self, transaction: Transaction, *streams: str) -> None:
        """Load streams into a transaction as they were last seen; what has moved is a conflict."""
        unseen: list[str] = []
        for stream in streams:
            if loaded := self._cache.get(stream):
                transaction.load(loaded.state, loaded.last_at)
            else:
                unseen.append(stream)
        if unseen:
            await self.into(transaction, *unseen)

    def is_moving(self, stream: str) -> bool:
        """Say whether what is at hand of a stream had moved on when it was read."""
        return stream in self._cache and self._cache[stream].is_moving

    def stored(self, events: Sequence[Recorded]) -> None:
        """Fold what this process has just stored, also into the streams that begin with it."""
        for recorded in events:
            stream = recorded.header.stream
            if recorded.header.stream_version == 1 and stream not in self._cache:
                self._cache[stream] = Loaded(empty(stream), None)
        self.learn(events)

    def learn(self, events: Iterable[Recorded]) -> None:
        """Fold what was followed into what is at hand; again: nothing."""
        for recorded in events:
            header = recorded.header
            if header.stream in self._loading:
                self._heard[header.stream] = header.stream_version
            loaded = self._cache.get(header.stream)
            if loaded and loaded.state.version < header.stream_version:
                self._follow(loaded, recorded)

    def _follow(self, loaded: Loaded, recorded: Recorded) -> None:
        header = recorded.header
        if header.stream_version > loaded.state.version + 1:
            del self._cache[header.stream]
            return
        try:
            state = fold(loaded.state, recorded.fact)
        except Exception:  # noqa: BLE001 - whoever reads the stream finds what is wrong with it
            del self._cache[header.stream]
        else:
            self._put(header.stream, Loaded(state, header.occurred_at, loaded.is_moving))

    async def _caught_up(self, stream: str) -> Loaded:
        self._loading[stream] += 1
        try:
            while True:
                loaded = self._cache.get(stream) or Loaded(empty(stream), None)
                newer = await self._log.stream(stream, after=loaded.state.version)
                loaded = self._keep(stream, self._noticed(stream, loaded, newer), newer)
                # What was followed meanwhile had nothing to be folded into.
                if loaded.state.version >= self._heard.get(stream, 0):
                    return loaded
        finally:
            self._loading[stream] -= 1
            if not self._loading[stream]:
                del self._loading[stream]
                self._heard.pop(stream, None)

    def _noticed(self, stream: str, loaded: Loaded, newer: Sequence[Recorded]) -> Loaded:
        """Note of a state whether it was behind the log, also after what was heard meanwhile."""
        known = self._cache.get(stream)
        is_behind = known and newer and known.state.version < newer[-1].originator_version
        return loaded._replace(is_moving=bool(is_behind))

    def _keep(self, stream: str, loaded: Loaded, newer: Iterable[Recorded]) -> Loaded:
        state, last_at, is_moving = loaded
        for recorded in newer:
            state = fold(state, recorded.fact)
            last_at = recorded.header.occurred_at
        loaded = Loaded(state, last_at, is_moving)
        known = self._cache.get(stream)
        if state.version and (known is None or known.state.version <= state.version):
            self._put(stream, loaded)
        return loaded

    def _put(self, stream: str, loaded: Loaded) -> None:
        self._cache[stream] = loaded
        self._cache.move_to_end(stream)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)


class Reading:
    """Streams as one decision reads them, and the versions that it rests on."""

    def __init__(self, streams: Streams, *, is_fresh: bool) -> None:
        """Read what the log says, or, where it is not to be asked, what was last seen of it."""
        self.versions: dict[str, int] = {}
        self._streams = streams
        self._is_fresh = is_fresh

    async def load(self, kind: type[Kind], stream: str) -> Kind:
        """Return a stream's state; its version is 0 where nothing was written."""
        load = self._streams.load if self._is_fresh else self._streams.seen
        state = await load(kind, stream)
        self.versions.setdefault(stream, state.version)
        return state

    async def existing(self, kind: type[Kind], stream: str) -> Kind:
        """Return a stream's state; NotFoundError where nothing was written."""
        state = await self.load(kind, stream)
        if state.version == 0:
            raise NotFoundError(kind=stream.partition(":")[0])
        return state

    async def into(self, transaction: Transaction, *streams: str) -> None:
        """Load streams into a transaction that will write to them."""
        moving = [s for s in streams if self._is_fresh or self._streams.is_moving(s)]
        await self._streams.at_hand(transaction, *[s for s in streams if s not in moving])
        if moving:
            await self._streams.into(transaction, *moving)
        for name in streams:
            # What was decided on before stays what the decision rests on.
            self.versions.setdefault(name, transaction.states[name].version)
