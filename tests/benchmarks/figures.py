"""Figures: how a benchmark says what it has found, and how the command finds it in its words.

A benchmark prints what it likes. A line that names a goal, as `line` writes it, becomes a row of
the table: ours, what it is measured against, the ratio, the goal, reached or missed.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

_LINE = re.compile(
    r"^(?P<ours>\S.*?) / (?P<limit>\S.*?) {2,}(?P<found>\S.*?) {2,}goal +(?P<goal>\S+)"
    r" +(?P<verdict>reached|missed)$"
)


class Figure(NamedTuple):
    """A row of the table."""

    ours: str
    limit: str
    found: str
    goal: str
    verdict: str


class Goal(NamedTuple):
    """What is to be reached: ours over the limit or the peer; `most`: not more than that."""

    ours: str
    limit: str
    ratio: float
    most: bool = False


def line(ours: str, limit: str, ratio: float, goal: float, *, most: bool = False) -> str:
    """Return the line that says how far a goal was reached."""
    is_reached = ratio <= goal if most else ratio >= goal
    verdict = "reached" if is_reached else "missed"
    return (
        f"{ours:30} / {limit:28}  {ratio:7.2f}   goal {'<=' if most else '>='}{goal:<6g} {verdict}"
    )


def read(text: str) -> Figure | None:
    """Return what a printed line says, if it names a goal."""
    found = _LINE.match(text.rstrip())
    return Figure(*(part.strip() for part in found.groups())) if found else None


def told(rates: Mapping[str, Sequence[float]], unit: str, goals: Sequence[Goal]) -> None:
    """Print the medians of what was measured in turn, and the ratios that have goals.

    A ratio is the median of the rounds' own ratios: what disturbs the machine disturbs both.
    """
    for name, found in rates.items():
        spread = f"({min(found):,.1f} - {max(found):,.1f})"
        print(f"{name:30} {median(found):>12,.1f} {unit}   {spread}")
    print()
    for goal in goals:
        if goal.ours in rates and goal.limit in rates:
            pairs = zip(rates[goal.ours], rates[goal.limit], strict=True)
            ratio = median(ours / limit for ours, limit in pairs)
            print(line(goal.ours, goal.limit, ratio, goal.ratio, most=goal.most))
