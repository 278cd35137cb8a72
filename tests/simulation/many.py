"""many: schedules by the thousand, on all cores; what failed, and what was reached."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from .faults import MOMENTS, STRIKES
from .schedule import Outcome, run
from .shrinking import only, shrunk
from .town import Plan

BATCH = 125
"""Seeds that one process carries out before it takes the next ones."""
COLLECTED = 25
"""Schedules after which their garbage is collected."""

KINDS_OF_MOMENTS = {*MOMENTS} - {"step clock", "nudge clock"}
SOMETIMES = (
    *sorted((KINDS_OF_MOMENTS | {*STRIKES}) - {"poison"}),
    *("clock forwards", "clock backwards", "paused beyond the lease", "unflushed tail lost"),
    *("takeover", "takeover of a lost lease", "refused at the target", "refused at the log"),
    *("known answered", "asked again", "poison contained", "restored", "handed over in line"),
    *("rollback of a finished one", "rollback of a rollback", "rolled back while it ran", "retry"),
    *("tried again after a loss", "abort of what is being undone"),
    *("refused state-conflict", "refused target-busy", "refused limit-reached"),
    *(f"deployment.{how}" for how in ("succeeded", "failed", "rolled_back", "rollback_failed")),
    *(f"deployment.{how}" for how in ("aborted", "cancelled")),
)
"""What must have happened somewhere in 2,000 schedules, or they have not tested it."""


@dataclass
class Summary:
    """What came of many schedules."""

    schedules: int = 0
    steps: int = 0
    events: int = 0
    seconds: float = 0.0
    """Virtual ones."""
    reached: Counter[str] = field(default_factory=Counter[str])
    """In how many schedules each thing has happened."""
    failed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    def add(self, outcome: Outcome) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.steps += outcome.steps
        self.events += outcome.events
        self.seconds += outcome.seconds
        self.reached.update(+Counter({k: 1 for k, n in outcome.reached.items() if n}))
        if outcome.violations:
            self.failed[outcome.plan.seed] = outcome.violations

    def join(self, other: Summary) -> None:
        """Add what another part has counted."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.events += other.events
        self.seconds += other.seconds
        self.reached.update(other.reached)
        self.failed.update(other.failed)

    @property
    def unreached(self) -> list[str]:
        """What should have happened and has not."""
        return [name for name in SOMETIMES if not self.reached[name]]


def batch(seeds: Sequence[int]) -> Summary:
    """Carry out the schedules of some seeds."""
    summary = Summary()
    # A schedule leaves cycles behind; what was there before it need not be looked at for them.
    gc.disable()
    gc.freeze()
    try:
        for number, seed in enumerate(seeds):
            summary.add(run(Plan.of(seed)))
            if number % COLLECTED == 0:
                gc.collect()
    finally:
        gc.unfreeze()
        gc.enable()
    return summary


def simulate(seeds: range, jobs: int, tell: Callable[[Summary], None]) -> Summary:
    """Carry out the schedules of all seeds in several processes; `tell` hears of each batch.

    Interrupted, it returns what has been done until then.
    """
    summary = Summary()
    parts = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    context = multiprocessing.get_context("spawn")
    count = min(jobs, len(parts))
    with ProcessPoolExecutor(count, mp_context=context, initializer=_go_on_to_the_end) as pool:
        try:
            for part in pool.map(batch, parts):
                summary.join(part)
                tell(summary)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    return summary


def _go_on_to_the_end() -> None:
    # The interrupt is for who waits; what is under way is finished first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def explained(seed: int) -> Iterator[str]:
    """Yield what a person needs who meets a seed that fails: the least of it, and its trace."""
    plan = Plan.of(seed)
    outcome = run(plan)
    sort = _sort(outcome)
    faults, wishes = shrunk(plan, lambda part: _sort(run(part)) == sort)
    least = run(only(plan, faults, wishes))
    yield f"seed {seed}: {len(outcome.violations)} violations, the first: {outcome.violations[0]}"
    yield f"  repeat: scripts/simulate --seed {seed}"
    listed = [",".join(map(str, numbers)) or "none" for numbers in (faults, wishes)]
    yield f"  shrunk: scripts/simulate --seed {seed} --faults {listed[0]} --wishes {listed[1]}"
    yield from (f"  fault {n}: {plan.faults[n]}" for n in faults)
    yield from (f"  wish {n}: {plan.wishes[n]}" for n in wishes)
    yield from (f"  {sentence}" for sentence in least.violations)
    yield from least.trace


def _sort(outcome: Outcome) -> str | None:
    """Return what kind of violation came first: another one is another bug."""
    return outcome.violations[0].partition(":")[0] if outcome.violations else None
