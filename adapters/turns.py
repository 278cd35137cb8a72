"""Turns: an event loop in which strangers get a share of each turn, so that our own work goes on.

asyncio answers every connection that is ready before it looks again at anything else. With ten
thousand clients a turn takes as long as all of them together, and a deployment that needs fifty
turns stands still. Here whatever reaches us at an address where we listen is the crowd: of it so
many are taken a turn. All else (pipes, child processes, control, databases) is taken every turn.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from select import EPOLLIN, EPOLLOUT, epoll
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

SHARE = 8
"""How many connections of the crowd are taken in one turn."""

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a program as `asyncio.run` does, on a loop that is fair."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that is fair."""
    return asyncio.SelectorEventLoop(FairSelector())


class FairSelector(BaseSelector):
    """Waits for our own files, and among them for the crowd as if it were one."""

    def __init__(self) -> None:
        self._ours = epoll()
        self._crowd = epoll()
        self._ours.register(self._crowd.fileno(), EPOLLIN)
        self._keys: dict[int, SelectorKey] = {}
        self._crowded: set[int] = set()
        self._ports: set[int] = set()
        """Where we listen."""

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> SelectorKey:
        """Implement `BaseSelector.register`."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(fd)
        if self._is_crowd(fd):
            self._crowded.add(fd)
        self._group(fd).register(fd, _mask(events))
        key = self._keys[fd] = SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> SelectorKey:
        """Implement `BaseSelector.unregister`."""
        key = self._keys.pop(_descriptor(fileobj))
        with suppress(OSError):  # it may have been closed before
            self._group(key.fd).unregister(key.fd)
        self._crowded.discard(key.fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> SelectorKey:
        """Implement `BaseSelector.modify`."""
        key = self._keys[_descriptor(fileobj)]
        if events != key.events:
            self._group(key.fd).modify(key.fd, _mask(events))
        key = self._keys[key.fd] = SelectorKey(fileobj, key.fd, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Implement `BaseSelector.select`."""
        # As in the standard library: rounded up, so that no turn is made too early.
        seconds = -1.0 if timeout is None else max(0, math.ceil(timeout * 1e3) * 1e-3)
        try:
            found = self._ours.poll(seconds, len(self._keys) + 1)
        except InterruptedError:
            return []
        ready: list[tuple[SelectorKey, int]] = []
        for fd, event in found:
            if fd != self._crowd.fileno():
                self._add(ready, fd, event)
        if len(ready) < len(found):
            for fd, event in self._crowd.poll(0, SHARE):
                self._add(ready, fd, event)
        return ready

    def close(self) -> None:
        """Implement `BaseSelector.close`."""
        self._keys.clear()
        self._crowd.close()
        self._ours.close()

    def get_map(self) -> Mapping[FileDescriptorLike, SelectorKey]:
        """Implement `BaseSelector.get_map`."""
        return _Keys(self._keys)

    def _add(self, ready: list[tuple[SelectorKey, int]], fd: int, event: int) -> None:
        key = self._keys.get(fd)
        events = (event & ~EPOLLIN and EVENT_WRITE) | (event & ~EPOLLOUT and EVENT_READ)
        if key is not None and (wanted := events & key.events):
            ready.append((key, wanted))

    def _group(self, fd: int) -> epoll:
        return self._crowd if fd in self._crowded else self._ours

    def _is_crowd(self, fd: int) -> bool:
        """Say whether this is a connection that somebody made to us; learn where we listen."""
        try:
            known = socket.socket(fileno=fd)
        except OSError:
            return False  # no socket
        try:
            if known.family not in {socket.AF_INET, socket.AF_INET6}:
                return False
            port: int = known.getsockname()[1]
            if known.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._ports.add(port)
                return False
            return port in self._ports
        finally:
            known.detach()


class _Keys(Mapping["FileDescriptorLike", SelectorKey]):
    """Keys by file or descriptor."""

    def __init__(self, keys: dict[int, SelectorKey]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._keys)

    def __getitem__(self, fileobj: FileDescriptorLike) -> SelectorKey:
        return self._keys[_descriptor(fileobj)]


def _descriptor(fileobj: FileDescriptorLike) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(fileobj)
    return fd


def _mask(events: int) -> int:
    return (events & EVENT_READ and EPOLLIN) | (events & EVENT_WRITE and EPOLLOUT)
