"""Batches: an export's chunks made on a thread, one batch ahead of who takes them, never more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from itertools import islice

from ...projections.exports import Chunk

BATCH = 8
"""About a MiB of events of the usual size: handing one over costs as much as 50 of its events."""

TURN = 0.001
"""Seconds; giving up the interpreter for nobody costs a thirtieth of it."""


async def batches(chunks: Iterator[Chunk], threads: Executor) -> AsyncGenerator[list[Chunk]]:
    """Yield what an iterator gives, which runs on one of the threads.

    Whoever stops taking leaves nothing behind but the batch that is being made. Errors: what
    the iterator raises, after every whole batch before.
    """
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(threads, take, chunks)
    try:
        while batch := await coming:
            coming = loop.run_in_executor(threads, take, chunks)
            yield batch
    finally:
        if not (coming.cancel() or coming.cancelled()):
            coming.exception()


def take(chunks: Iterator[Chunk]) -> list[Chunk]:
    """Return the next batch, an empty one at the end."""
    taken: list[Chunk] = []
    began = time.monotonic()
    for chunk in islice(chunks, BATCH):
        taken.append(chunk)
        if time.monotonic() - began > TURN:
            # Others who wait for the interpreter get it now, and not after its switch interval.
            time.sleep(0)
            began = time.monotonic()
    return taken
