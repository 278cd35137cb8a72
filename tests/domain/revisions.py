"""Facts of a blue-green deployment as its stages would report them."""

from shipslog.domain.health import HealthPolicy, HttpCheck
from shipslog.domain.stages.work import revision_id
from shipslog.domain.target import Place, Revision, Serving, Target

from .story import Story

LISTEN = "127.0.0.1:8100"


def revision(deployment: str, version: str = "1.0.0") -> Revision:
    """Return the revision that a deployment's first try brings up."""
    return Revision(
        id=revision_id(deployment, 1),
        version=version,
        deployment=deployment,
        workspace=deployment,
        argv=("serve", "--port", "{port}"),
        capacity=1,
        values={"version": version},
        policy=HealthPolicy(checks=(HttpCheck("/healthz"),)),
    )


def serving(deployment: str) -> Serving:
    """Return all traffic on a deployment's revision."""
    name = revision_id(deployment, 1)
    return Serving(listen=LISTEN, weights={name: 10_000}, live=name)


async def up_to_switch(story: Story, deployment: str, version: str = "1.0.0") -> None:
    """Carry a blue-green deployment until its switch has succeeded."""
    await story.settle(deployment)
    await story.finish(deployment, "build")
    before = (await story.target()).serving
    taken = Target.SnapshotTaken(deployment=deployment, serving=before)
    await story.finish(deployment, "deploy.snapshot", "succeeded", taken)
    started = Target.RevisionStarted(
        deployment=deployment,
        revision=revision(deployment, version),
        instances=(Place("127.0.0.1", 4000, 1),),
    )
    await story.finish(deployment, "deploy.start", "succeeded", started)
    await story.finish(deployment, "deploy.health")
    routed = Target.Routed(deployment=deployment, serving=serving(deployment))
    await story.finish(deployment, "deploy.switch", "succeeded", routed)


async def to_the_end(story: Story, deployment: str, version: str = "1.0.0") -> None:
    """Carry a blue-green deployment to its success; the one before it is retired."""
    await up_to_switch(story, deployment, version)
    await story.finish(deployment, "deploy.monitor")
    await story.finish(deployment, "verify")
    old = [name for name in (await story.target()).running if name != revision_id(deployment, 1)]
    retired = [Target.RevisionRetired(deployment=deployment, revision=name) for name in old]
    await story.finish(deployment, "deploy.retire", "succeeded", *retired)
