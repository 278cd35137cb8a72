"""Simulates: many schedules on all cores, or one seed with its trace.

`scripts/simulate --help` says how; the exit code is 1 where anything was violated or not reached.
"""

import argparse
import os
import sys
import time

from .many import SOMETIMES, Summary, explained, simulate
from .schedule import run
from .shrinking import only
from .town import Plan

COUNT = 100_000
ENOUGH = 2_000
"""With so many schedules everything that happens sometimes must have happened."""
INTERRUPTED = 130
EXPLAINED = 3
"""How many seeds that fail are shrunk and shown."""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    asked = arguments()
    if asked.digests:
        return digests(asked.first, asked.digests)
    if asked.seed is not None:
        return one(asked.seed, asked.faults, asked.wishes)
    return many(range(asked.first, asked.first + asked.count), asked.jobs, asked.explain)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/simulate", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help=f"schedules, else {COUNT:,}")
    parser.add_argument("--first", type=int, default=1, help="the first seed, else 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="else one a core")
    parser.add_argument("--seed", type=int, help="one seed, with its trace")
    parser.add_argument("--faults", help="with --seed: only these, 0,2 or none")
    parser.add_argument("--wishes", help="with --seed: only these, 0,2 or none")
    parser.add_argument("--explain", type=int, default=EXPLAINED, help="failures, else 3")
    parser.add_argument("--digests", type=int, help="only the digests of so many traces")
    return parser.parse_args()


def many(seeds: range, jobs: int, explain: int) -> int:
    began = time.monotonic()
    told = 0.0

    def tell(summary: Summary) -> None:
        nonlocal told
        if time.monotonic() - told > 10:
            told = time.monotonic()
            sys.stderr.write(f"{summary.schedules:,} of {len(seeds):,}\n")

    summary = simulate(seeds, jobs, tell)
    report(summary, seeds, time.monotonic() - began)
    for seed in sorted(summary.failed)[:explain]:
        say("")
        for line in explained(seed):
            say(line)
    missing = summary.unreached if summary.schedules >= ENOUGH else []
    for name in missing:
        say(f"not reached: {name}")
    if summary.schedules < len(seeds):
        return INTERRUPTED
    return 1 if summary.failed or missing else 0


def report(summary: Summary, seeds: range, seconds: float) -> None:
    say(
        f"{summary.schedules:,} schedules of seeds from {seeds[0]} on: "
        f"{len(summary.failed)} with violations"
    )
    if summary.schedules and not summary.failed:
        bound = 3 / summary.schedules
        say(f"the rate of failing schedules is below {bound:.1g} with 95 % confidence")
    say(
        f"{summary.events:,} events, {summary.steps:,} steps, {summary.seconds / 3600:,.1f} h of "
        f"virtual time in {seconds:.1f} s"
    )
    for name in SOMETIMES:
        say(f"{summary.reached[name]:>8,}  {name}")
    for seed, violations in sorted(summary.failed.items())[:20]:
        say(f"failed: seed {seed}: {violations[0]}")


def one(seed: int, faults: str | None, wishes: str | None) -> int:
    plan = Plan.of(seed)
    plan = only(plan, chosen(faults, len(plan.faults)), chosen(wishes, len(plan.wishes)))
    for fault in plan.faults:
        say(f"fault {fault}")
    for wish in plan.wishes:
        say(f"wish {wish}")
    outcome = run(plan)
    for line in outcome.trace:
        say(line)
    say(f"digest {outcome.digest}, {len(outcome.violations)} violations")
    return 1 if outcome.violations else 0


def digests(first: int, count: int) -> int:
    for seed in range(first, first + count):
        say(f"{seed} {run(Plan.of(seed)).digest}")
    return 0


def chosen(numbers: str | None, count: int) -> list[int]:
    if numbers is None:
        return list(range(count))
    return [int(n) for n in numbers.split(",") if n != "none"]


if __name__ == "__main__":
    sys.exit(main())
