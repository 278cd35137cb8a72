"""shrinking: the smallest part of a failing plan that still fails, by delta debugging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from .town import Plan

MOST_RUNS = 200

Item = TypeVar("Item")


def only(plan: Plan, faults: Sequence[int], wishes: Sequence[int]) -> Plan:
    """Return a plan with these of its faults and wishes, counted from 0."""
    return replace(
        plan,
        faults=tuple(plan.faults[n] for n in faults),
        wishes=tuple(plan.wishes[n] for n in wishes),
    )


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> tuple[list[int], list[int]]:
    """Return the faults and wishes that are left when no single one can be spared any more."""
    left = MOST_RUNS

    def still_fails(items: Sequence[tuple[bool, int]]) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(only(plan, *_parted(items)))

    everything = [
        *((True, n) for n in range(len(plan.faults))),
        *((False, n) for n in range(len(plan.wishes))),
    ]
    return _parted(smallest(everything, still_fails))


def smallest(items: list[Item], fails: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """Return a part that fails and of which nothing can be left out (Zeller's ddmin).

    >>> smallest([1, 2, 3, 4, 5, 6, 7, 8], lambda part: 3 in part and 6 in part)
    [3, 6]
    """
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            rest = items[:start] + items[start + size :]
            if fails(rest):
                items = rest
                size = min(size, max(len(items), 1))
                break
        else:
            size //= 2
    return items


def _parted(items: Sequence[tuple[bool, int]]) -> tuple[list[int], list[int]]:
    return [n for is_fault, n in items if is_fault], [n for is_fault, n in items if not is_fault]
