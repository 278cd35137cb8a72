"""Faults: drawn up front from a seed as a list, so that any of them can be left out.

Some strike at an instant (`MOMENTS`), some at the n-th call of their sort (`STRIKES`). A new one
is a line in one of the two tables, what it does in `town.py` or where `strike` is asked, and a
mark in `reached.py` by which a run of many seeds shows that it has mattered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from .fakes.server import Weather

HORIZON = 9.0
"""Seconds after which nothing new goes wrong."""

MOMENTS: dict[str, tuple[float, float]] = {
    "kill worker": (0.1, 3.0),
    "stop worker": (0.1, 1.0),
    "pause worker": (0.5, 12.0),
    "kill agent": (0.0, 0.0),
    "kill api": (0.1, 1.0),
    "pause api": (0.5, 4.0),
    "kill everything": (0.1, 2.0),
    "crash store": (0.0, 0.0),
    "step clock": (-90.0, 90.0),
    "nudge clock": (-2.0, 2.0),
    "instance dies": (0.0, 0.0),
    "sick": (0.2, 15.0),
    "platform down": (0.2, 6.0),
    "address taken": (1.0, 10.0),
    "store slow": (0.5, 4.0),
    "store cut": (0.5, 8.0),
    "deaf": (0.5, 10.0),
}
"""What strikes at an instant, and the least and the most of it: seconds."""

STRIKES: dict[str, tuple[str, str, int]] = {
    "commit lost": ("commit", "lost", 60),
    "commit stored": ("commit", "stored", 60),
    "crash at commit": ("commit", "crash", 60),
    "commit conflict": ("commit", "conflict", 60),
    "store unreachable": ("commit", "unreachable", 60),
    "read fails": ("read", "fails", 600),
    "hint lost": ("hint", "lost", 60),
    "hint twice": ("echo", "twice", 60),
    "sender dies": ("send", "late", 30),
    "sender caught": ("catch", "caught", 30),
    "request overtaken": ("overtake", "late", 4),
    "writer dies": ("append", "late", 30),
    "platform refuses": ("platform", "down", 60),
    "platform mute": ("platform", "mute", 60),
    "platform hangs": ("platform", "hangs", 60),
    "probe fails": ("probe", "fails", 40),
    "poison": ("poison", "raises", 40),
}
"""What strikes at a call: which step, what goes wrong with it, and the last call that may be hit.

Poison strikes at an event, counted from the first that is new, in the read model `whom`.
"""


class Fault(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    at: float
    """Seconds after the beginning, or the number of the call."""
    whom: int = 0
    """Which worker, instance or clock, counted round."""
    much: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:g} ({self.whom}, {self.much:g})"


def drawn(rng: Random) -> list[Fault]:
    """Return the faults of a seed: few kinds in each, so that one is not drowned by the others."""
    kinds = rng.sample([*MOMENTS, *STRIKES], rng.randint(1, 6))
    return [_one(rng, rng.choice(kinds)) for _ in range(rng.choice((0, 1, 2, 3, 4, 6, 9)))]


def _one(rng: Random, kind: str) -> Fault:
    whom = rng.randrange(12)
    if kind in STRIKES:
        return Fault(kind, float(rng.randrange(STRIKES[kind][2])), whom)
    least, most = MOMENTS[kind]
    return Fault(
        kind, round(rng.uniform(0.0, HORIZON), 3), whom, round(rng.uniform(least, most), 3)
    )


class SimulatedWeather(Weather):
    """Draws how long things take, and strikes at the calls that the faults name."""

    def __init__(self, rng: Random, faults: Sequence[Fault], reached: Counter[str]) -> None:
        self.is_calm = False
        self.slow_until = self.cut_until = self.deaf_until = 0.0
        self.down_until = self.sick_until = self.taken_until = 0.0
        self.time: Callable[[], float] = float
        self._random = rng.random
        self._reached = reached
        self._calls: Counter[str] = Counter()
        self._strikes = {
            (STRIKES[one.kind][0], int(one.at)): one for one in faults if one.kind in STRIKES
        }

    def delay(self, what: str) -> float:
        """Return how long a step takes: mostly next to nothing, now and then very long."""
        least, most, chance = _DELAYS[what]
        dice = self._random()
        if dice >= chance:
            return least
        seconds = least + (most - least) * dice / chance
        if dice < chance * 0.01 and not self.is_calm:
            seconds *= 50
        if self.time() < self.slow_until and what in ("commit", "flush", "claim"):
            seconds += self._random()
        return seconds

    def strike(self, what: str) -> str | None:
        """Return what goes wrong with this step."""
        if self.is_calm:
            return None
        self._calls[what] += 1
        if fault := self._strikes.get((what, self._calls[what])):
            self._reached[fault.kind] += 1
            return STRIKES[fault.kind][1]
        return self._by_window(what)

    def _by_window(self, what: str) -> str | None:
        if what == "hint" and self.time() < self.deaf_until:
            return "lost"
        if what in ("commit", "read") and self.time() < self.cut_until:
            return "unreachable"
        if what == "platform" and self.time() < self.down_until:
            return "down"
        if what == "address" and self.time() < self.taken_until:
            return "taken"
        if what == "probe" and self.time() < self.sick_until:
            return "fails"
        return None


_DELAYS: dict[str, tuple[float, float, float]] = {
    "commit": (0.0005, 0.004, 1.0),
    "flush": (0.0002, 0.006, 1.0),
    "answer": (0.0002, 0.002, 1.0),
    "hint": (0.005, 0.08, 1.0),
    "read": (0.0, 0.01, 0.02),
    "claim": (0.001, 0.004, 1.0),
    "send": (0.0005, 0.008, 1.0),
    "reply": (0.0005, 0.008, 1.0),
    "look": (0.0, 0.01, 0.05),
    "probe": (0.002, 0.03, 1.0),
}
"""Least and most seconds of a step, and how often it takes more than the least."""
