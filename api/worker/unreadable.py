"""Unreadable: deployments in which a newer build has written what this one does not know.

They are left untouched, for a newer worker. Each is told of once, and put off ever longer, by
half to the whole of a time that is doubled.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from datetime import datetime, timedelta

import structlog

from ...domain.append import Due
from ...domain.errors import UnknownTopicError

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 10.0
"""No longer: for so long a newer worker, too, does not find it due."""
REMEMBERED = 4096

_log = structlog.get_logger()


class Unreadable:
    """What was met so far, the oldest forgotten where it becomes too many."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """By stream: what is not known, and for how many seconds at most it was put off."""

    def put_off(self, stream: str, error: UnknownTopicError, now: datetime) -> Due:
        """Return when a deployment is due again; what is new is told."""
        detail = str(error)
        before, seconds = self._known.get(stream, ("", 0.0))
        if before != detail:
            _log.warning("deployment_unreadable", stream=stream, detail=detail)
            seconds = 0.0
        seconds = min(max(2 * seconds, FIRST_SECONDS), LONGEST_SECONDS)
        self._known[stream] = (detail, seconds)
        self._known.move_to_end(stream)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        # Always in step with its own looks, this worker would find it due before every other.
        away = random.uniform(seconds / 2, seconds)  # noqa: S311
        return Due(stream, now + timedelta(seconds=away))
