"""Chance: what the product draws at random comes from the seed; what it logs is listened to."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch
from uuid import UUID

import structlog
from structlog.typing import EventDict

from shipslog.domain import event, handlers
from shipslog.domain.errors import LedgerError


@contextmanager
def seeded(seed: int, time: Callable[[], float]) -> Generator[None]:
    """Let ids, salts and the jitter of retries come from a seed."""
    rng = Random(f"product of {seed}")  # noqa: S311 - it must be repeatable, not secret
    state = random.getstate()
    random.seed(f"jitter of {seed}")

    def uuid7() -> UUID:
        milliseconds = 1_795_000_000_000 + int(time() * 1000)
        number = milliseconds << 80 | 7 << 76 | rng.getrandbits(12) << 64
        return UUID(int=number | 2 << 62 | rng.getrandbits(62))

    class Secrets:
        token_bytes = staticmethod(rng.randbytes)

    try:
        with patch.object(handlers, "uuid7", uuid7), patch.object(event, "secrets", Secrets):
            yield
    finally:
        random.setstate(state)


@contextmanager
def logs_heard(complain: Callable[[str], None]) -> Generator[None]:
    """Let nothing be printed; what the product logs as unforeseen is a complaint."""

    def hear(_: object, method: str, said: EventDict) -> EventDict:
        error = sys.exc_info()[1]
        if said.get("exc_info") and error is not None and not isinstance(error, LedgerError):
            complain(f"{said['event']}: {type(error).__name__}: {error} ({method})")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
