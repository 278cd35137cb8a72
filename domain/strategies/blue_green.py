"""blue_green: the new revision beside the old, one switch, a watched while, the old one retired.

The old revision is kept until everything that comes after the deploy stage has ended well: where
a `verify` fails, traffic goes back in one step to processes that still run.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..language.argv import declared
from ..language.fields import basis_points, seconds
from ..language.pipeline import Deploy
from ..plan import PlannedStage
from ..stages import HealthSpec, MonitorSpec, RetireSpec, SnapshotSpec, Spec, StartSpec, SwitchSpec
from ..stages.retire import Which

BRIEF_SECONDS = 30.0
"""For what the platform does at once, and as a margin for the rest."""
START_SECONDS = 120.0
"""For the workspace to be copied and the processes to be there, not yet well."""
LAST_REQUESTS_SECONDS = 60.0
"""What plain requests get to end in after the drain."""
TRIES = 3
"""Of what may be done twice: after a failure that may pass it is better done than given up."""


def expand(stage: Deploy, followers: Sequence[str]) -> tuple[PlannedStage, ...]:
    """Return the stages of a deploy stage; `followers` are the names of all that come after it.

    The first needs what the deploy stage needs. What needs the deploy stage waits for its
    `monitor`, and `retire` waits for all followers, so that a failing one is undone by switching
    back.
    """
    name, rollout = stage.name, stage.deploy
    policy, watched = rollout.health.policy(), seconds(rollout.strategy.monitor)
    patience = policy.attempts * (policy.timeout + policy.interval) + BRIEF_SECONDS
    drain = seconds(rollout.drain)
    start = StartSpec(
        argv=tuple(rollout.command),
        capacity=rollout.capacity,
        env=declared(stage.env),
        policy=policy,
    )
    monitor = MonitorSpec(
        seconds=watched,
        policy=policy,
        max_error_share=basis_points(rollout.strategy.max_error_share),
        min_requests=rollout.strategy.min_requests,
    )
    return (
        _stage(f"{name}.snapshot", SnapshotSpec(), stage.needs, BRIEF_SECONDS, TRIES),
        # Once each: another start is another revision, and a switch in doubt is undone.
        _stage(f"{name}.start", start, [f"{name}.snapshot"], START_SECONDS),
        _stage(f"{name}.health", HealthSpec(policy=policy), [f"{name}.start"], patience),
        _stage(f"{name}.switch", SwitchSpec(), [f"{name}.health"], BRIEF_SECONDS),
        _stage(f"{name}.monitor", monitor, [f"{name}.switch"], watched + patience),
        _stage(
            f"{name}.retire",
            RetireSpec(which=Which.PREVIOUS, drain=drain),
            [f"{name}.monitor", *followers],
            drain + LAST_REQUESTS_SECONDS,
            TRIES,
        ),
    )


def _stage(
    name: str, spec: Spec, needs: Sequence[str], timeout: float, attempts: int = 1
) -> PlannedStage:
    return PlannedStage(
        name=name,
        spec=spec,
        needs=tuple(needs),
        timeout=timeout,
        attempts=attempts,
        backoff=1.0 if attempts > 1 else 0.0,
    )
