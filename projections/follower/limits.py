"""Limits: how much one fold may take of the processor and of memory before it is called off.

A fold computes rows from events and nothing else. One that goes on for seconds of its thread's own
processor time, or that fills memory, has met an event that it cannot fold. While a database or a
busy machine lets it wait, no processor time passes, and no event is to blame.
"""

from __future__ import annotations

import ctypes
import resource
import threading
import time
from collections.abc import Callable
from typing import TypeVar

FOLD_SECONDS = 5.0
"""Processor time; a batch of 2,000 events takes some 30 ms."""
FOLD_KIBIBYTES = 512 * 1024
"""By how much the memory of the process may grow beyond what it ever had."""
ROOM_BYTES = 64 * 1024 * 1024

Result = TypeVar("Result")

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc


class FoldLimitError(Exception):
    """A fold was called off."""


class _CalledOff(Exception):  # noqa: N818 - it is met nowhere else
    """Raised between two steps of a fold."""


class Limited:
    """The fold that a thread is at, which whoever looks at it from another thread may call off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._began = 0.0
        self._most = 0
        self._complaint: str | None = None

    def fold(self, job: Callable[[], Result]) -> Result:
        """Do a fold. Errors: its own; FoldLimitError where it was called off."""
        # One frame and no context manager: between its parts nothing would be caught.
        try:
            try:
                self._begin()
                return job()
            finally:
                self._end()
        except _CalledOff:
            raise FoldLimitError(self._complaint) from None

    def look(self) -> None:
        """Call off the fold under way if it has taken more than it may."""
        with self._lock:
            if self._thread is None or self._complaint is not None:
                return
            clock = time.pthread_getcpuclockid(self._thread)
            seconds = time.clock_gettime(clock) - self._began
            if seconds >= FOLD_SECONDS:
                self._complaint = f"it had not ended after {seconds:.1f} s of processor time"
            elif (grown := _most_memory() - self._most) >= FOLD_KIBIBYTES:
                self._complaint = f"it had taken {grown // 1024} MiB of memory"
            if self._complaint is not None:
                _raise(self._thread, _CalledOff)

    def _begin(self) -> None:
        with self._lock:
            self._began, self._most = time.thread_time(), _most_memory()
            self._complaint = None
            self._thread = threading.get_ident()

    def _end(self) -> None:
        with self._lock:
            if self._complaint is not None and self._thread is not None:
                # It has ended just so, and what was on its way must not hit what comes next.
                _raise(self._thread, None)
            self._thread = None


def has_room() -> bool:
    """Say whether there is memory again: then it was the fold that had taken it all."""
    try:
        bytearray(ROOM_BYTES)
    except MemoryError:
        return False
    return True


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _raise(thread: int, kind: type[BaseException] | None) -> None:
    # The one way to end a computation in another thread; it comes between two steps of Python.
    _raise_in_thread(ctypes.c_ulong(thread), ctypes.py_object(kind) if kind else None)
