"""Everything that can befall a deployment, told through the real door and the real rollout."""

from typing import Any

from shipslog.domain.commands import (
    AbortDeployment,
    Command,
    DefineEnvironment,
    DefinePipeline,
    FinishStage,
    RequestDeployment,
    RetryDeployment,
    RollbackDeployment,
)
from shipslog.domain.event import Event
from shipslog.domain.ledger import Receipt
from shipslog.domain.target import Target

from ..domain.revisions import revision, serving, to_the_end, up_to_switch
from ..domain.story import BLUE_GREEN, ENVIRONMENT, Story

RETRIED: list[dict[str, Any]] = [
    {
        "name": "build",
        "run": ["true"],
        "retry": {"attempts": 3, "backoff": "2s"},
        "idempotent": True,
    },
    {"name": "pause", "wait": "30s", "needs": ["build"]},
]


async def everything() -> Story:
    """Tell of every ending and every way to wait; each step takes a while."""
    story = Story()
    await story.begin(BLUE_GREEN, history_limit=3)
    await succeed(story, "1.0.0")
    await roll_back(story, "1.1.0")
    await queue_and_abort(story)
    await take_back(story, await succeed(story, "1.3.0"))
    await define(story, history_limit=2)
    await retry(story)
    await define(story, history_limit=4)
    await fail_early(story, "1.5.0")
    await leave_some_open(story)
    return story


async def define(story: Story, name: str = "staging", **changes: Any) -> None:
    """Define the environment anew."""
    later(story)
    stream = await story.ledger.stream(f"environment:{name}")
    defined = [e for e in stream if e.header.topic == "environment.defined"]
    version = defined[-1].header.stream_version if defined else None
    document = {**ENVIRONMENT, **changes}
    await story.tell(DefineEnvironment(name=name, document=document, if_match=version))


async def succeed(story: Story, version: str) -> str:
    """Deploy a version to its success."""
    deployment = await request(story, version, reason=f"release {version}")
    await to_the_end(story, deployment, version)
    return deployment


async def roll_back(story: Story, version: str) -> str:
    """Deploy a version that is taken back while it is watched."""
    deployment = await request(story, version)
    before = (await story.target()).serving
    await up_to_switch(story, deployment, version)
    later(story)
    await story.finish(deployment, "deploy.monitor", "failed")
    assert before is not None
    back = Target.Routed(deployment=deployment, serving=before)
    await story.finish(deployment, "deploy.undo_switch", "succeeded", back)
    new = revision(deployment).id
    gone = Target.RevisionRetired(deployment=deployment, revision=new)
    await story.finish(deployment, "deploy.undo_start", "succeeded", gone)
    return deployment


async def queue_and_abort(story: Story) -> None:
    """Let three stand in line; the second is cancelled there, the first aborted at work."""
    first, second, third = [await request(story, f"1.2.{n}") for n in range(3)]
    await story.settle(first)
    await tell(story, AbortDeployment(deployment=second, reason="not this one"))
    await story.settle(second)
    await tell(story, AbortDeployment(deployment=first))
    await story.settle(first)
    await story.finish(first, "build", "cancelled")
    await to_the_end(story, third, "1.2.2")


async def take_back(story: Story, deployment: str) -> str:
    """Roll a finished deployment back by a new one, linked both ways."""
    receipt = await tell(story, RollbackDeployment(deployment=deployment, reason="too slow"))
    new = receipt.stream.partition(":")[2]
    await story.settle(new)
    for stage in [stage.name for stage in (await story.deployment(new)).stages]:
        if stage in await story.running(new):
            await story.finish(new, stage, "succeeded", *_facts(new, stage))
    return new


async def retry(story: Story) -> None:
    """Fail before anything was switched, and try the same once more."""
    deployment = await fail_early(story, "1.4.0")
    receipt = await tell(story, RetryDeployment(deployment=deployment))
    again = receipt.stream.partition(":")[2]
    await story.settle(again)
    await story.finish(again, "build", "errored")


async def fail_early(story: Story, version: str) -> str:
    """Deploy a version that does not build."""
    deployment = await request(story, version)
    await story.settle(deployment)
    later(story)
    await story.finish(deployment, "build", "failed")
    return deployment


async def leave_some_open(story: Story) -> None:
    """Leave one between two tries, one waiting by design, one in line and one just requested."""
    await define(story, "lab")
    await tell(story, DefinePipeline(name="batch", document={"stages": RETRIED}))
    trying, waiting, _, _ = [await request(story, "2.0.0", "batch", place) for place in PLACES]
    await story.settle(trying)
    lost = FinishStage(stage="build", attempt=1, outcome="errored", lost=True)
    await story.settle(trying, lost)
    await story.finish(trying, "build", "failed")
    await story.settle(waiting)
    await story.finish(waiting, "build")


async def doubts() -> Story:
    """Tell of tries of which nobody knows: asked for again, ended, undone, and waited with."""
    story = Story()
    await story.begin(BLUE_GREEN)
    await succeed(story, "1.0.0")
    await undo_in_doubt(story)
    await tell(story, DefinePipeline(name="batch", document={"stages": RETRIED}))
    for place in DOUBTS:
        await define(story, place)
    again, ended, waiting = [await request(story, "3.0.0", "batch", place) for place in DOUBTS]
    for one in (again, ended, waiting):
        await story.settle(one)
        await doubt(story, one, "build")
    await tell(story, RetryDeployment(deployment=again, reason="it never ran"))
    await story.settle(again)
    await tell(story, AbortDeployment(deployment=ended))
    await story.settle(ended)
    return story


async def undo_in_doubt(story: Story) -> None:
    """Take back what nobody knows to have switched, and ask again for a step of that."""
    one = await request(story, "1.1.0")
    await story.settle(one)
    for stage in ("build", "deploy.snapshot", "deploy.start", "deploy.health"):
        await story.finish(one, stage)
    await doubt(story, one, "deploy.switch")
    await tell(story, RollbackDeployment(deployment=one))
    await story.settle(one)
    await doubt(story, one, "deploy.undo_switch")
    await tell(story, RetryDeployment(deployment=one))
    await story.settle(one)
    await story.finish(one, "deploy.undo_switch")
    await story.finish(one, "deploy.undo_start")


async def doubt(story: Story, deployment: str, stage: str) -> None:
    """Let nobody know what a try did."""
    later(story)
    attempt = FinishStage(stage=stage, attempt=1, outcome="errored", unknown=True)
    await story.settle(deployment, attempt)


DOUBTS = ("again", "ended", "waiting")
PLACES = ("lab", "staging", "lab", "prod")


async def request(
    story: Story,
    version: str,
    pipeline: str = "web",
    environment: str = "staging",
    reason: str | None = None,
) -> str:
    """Request a deployment and return its id."""
    if environment == "prod":
        await define(story, "prod")
    command = RequestDeployment(
        pipeline=pipeline, version=version, environment=environment, reason=reason
    )
    return (await tell(story, command)).stream.partition(":")[2]


async def tell(story: Story, command: Command) -> Receipt:
    """Carry out a person's command, a while after what was before."""
    later(story)
    return await story.tell(command)


def later(story: Story) -> None:
    """Let a while pass."""
    story.clock.move(1.25)


def _facts(deployment: str, stage: str) -> list[Event]:
    if stage == "deploy.start":
        started = revision(deployment)
        return [Target.RevisionStarted(deployment=deployment, revision=started, instances=())]
    if stage == "deploy.switch":
        return [Target.Routed(deployment=deployment, serving=serving(deployment))]
    return []
