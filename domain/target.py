"""Target: a service in an environment; what is live there, who holds it and who waits for it.

The holder is the fold of this stream and nothing else. The position of `target.held` is the first
half of the holder's fence: it grows with every holder.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from .event import Event, Fact
from .health import HealthPolicy
from .ports import SecretRef

HEALTHY_KEPT = 50
FINISHED_KEPT = 1000


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to start a version again: it stands in the log, not in a file."""

    id: str
    version: str
    deployment: str
    workspace: str
    """The deployment whose workspace it runs in."""
    argv: tuple[str, ...]
    capacity: int
    values: dict[str, str]
    env: dict[str, str | SecretRef] = {}
    path: tuple[str, ...] = ()
    inherit: tuple[str, ...] = ()
    policy: HealthPolicy


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a target serves: where, shared how, and by which revision in the first place."""

    listen: str
    weights: dict[str, int] = {}
    live: str | None = None


class Place(msgspec.Struct, frozen=True):
    """Where one instance listened when it was started."""

    host: str
    port: int
    pid: int


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a target."""

    name: str
    """`environment/service`."""
    version: int = 0
    holder: str | None = None
    held_at: int = 0
    """Position of the newest `target.held`; the fence's first half."""
    queue: tuple[str, ...] = ()
    serving: Serving | None = None
    revisions: dict[str, Revision] = {}
    """Started and not retired, or healthy once."""
    running: tuple[str, ...] = ()
    """Revisions started and not retired."""
    places: dict[str, tuple[Place, ...]] = {}
    """Where the instances of each of them were when they were last recorded."""
    snapshot: Serving | None = None
    """What was served when the holder took its snapshot."""
    healthy: tuple[str, ...] = ()
    """Revisions whose deployment succeeded and was not taken back, oldest first."""
    finished: tuple[str, ...] = ()
    """Deployments that have ended here, oldest first."""

    class Held(Event, frozen=True):
        """A deployment may change the target from now on, and no other."""

        TOPIC: ClassVar[str] = "target.held"
        deployment: str

    class Queued(Event, frozen=True):
        """A deployment waits until the target is free."""

        TOPIC: ClassVar[str] = "target.queued"
        deployment: str

    class Left(Event, frozen=True):
        """A deployment waits no more."""

        TOPIC: ClassVar[str] = "target.left"
        deployment: str

    class SnapshotTaken(Event, frozen=True):
        """What is served before the holder changes anything."""

        TOPIC: ClassVar[str] = "target.snapshot_taken"
        deployment: str
        serving: Serving | None

    class RevisionStarted(Event, frozen=True):
        """A revision runs beside what is live."""

        TOPIC: ClassVar[str] = "target.revision_started"
        deployment: str
        revision: Revision
        instances: tuple[Place, ...]

    class Routed(Event, frozen=True):
        """Requests are shared in this way from now on."""

        TOPIC: ClassVar[str] = "target.routed"
        deployment: str
        serving: Serving

    class RevisionRetired(Event, frozen=True):
        """A revision has finished what it had and its instances have ended."""

        TOPIC: ClassVar[str] = "target.revision_retired"
        deployment: str
        revision: str

    class Restored(Event, frozen=True):
        """What should be live was gone and runs again."""

        TOPIC: ClassVar[str] = "target.restored"
        revision: str
        detail: str
        instances: tuple[Place, ...]

    class Released(Event, frozen=True):
        """The holder has ended; `taken_back` are revisions that no rollback should choose."""

        TOPIC: ClassVar[str] = "target.released"
        deployment: str
        ending: str
        healthy: str | None = None
        taken_back: tuple[str, ...] = ()

    @property
    def stream(self) -> str:
        """The stream's name."""
        return stream_of(self.name)

    @property
    def live(self) -> Revision | None:
        """The revision that serves, if one does."""
        if self.serving is None or self.serving.live is None:
            return None
        return self.revisions.get(self.serving.live)

    def revision_of(self, deployment: str) -> Revision | None:
        """Return the newest revision that a deployment has started."""
        mine = [r for r in self.revisions.values() if r.deployment == deployment]
        return mine[-1] if mine else None

    def workspaces_kept(self, history_limit: int) -> frozenset[str]:
        """Return the deployments whose workspaces are kept: live, in the history, or to come."""
        live = {self.live.workspace} if self.live else set[str]()
        coming = {*self.queue, *([self.holder] if self.holder else [])}
        running = {self.revisions[name].workspace for name in self.running}
        return frozenset({*self.finished[-history_limit:], *live, *coming, *running})

    def healthy_before(self, revision: str, history_limit: int) -> Revision | None:
        """Return the newest healthy revision other than this one whose workspace is kept."""
        kept = self.workspaces_kept(history_limit)
        earlier = [self.revisions[name] for name in self.healthy if name != revision]
        return next((r for r in reversed(earlier) if r.workspace in kept), None)


def stream_of(name: str) -> str:
    """Return the stream of the target `environment/service`."""
    return f"target:{name}"


def evolve(target: Target, fact: Fact) -> Target:
    """Return the state after one event."""
    event = fact.event
    version = target.version + 1
    match event:
        case Target.Held():
            changes = {
                "holder": event.deployment,
                "held_at": fact.position,
                "queue": _without(target.queue, event.deployment),
                "snapshot": None,
            }
        case Target.Queued():
            changes = {"queue": (*target.queue, event.deployment)}
        case Target.Left():
            changes = {"queue": _without(target.queue, event.deployment)}
        case Target.SnapshotTaken():
            changes = {"snapshot": event.serving}
        case Target.RevisionStarted():
            revision = event.revision
            changes = {
                "revisions": {**target.revisions, revision.id: revision},
                **_runs(target, revision.id, event.instances),
            }
        case Target.Routed():
            changes = {"serving": event.serving}
        case Target.RevisionRetired():
            changes = _retired(target, event.revision)
        case Target.Restored():
            changes = _runs(target, event.revision, event.instances)
        case Target.Released():
            changes = _released(target, event)
        case _:
            changes = {}
    return msgspec.structs.replace(target, version=version, **changes)


def release(
    target: Target, deployment: str, ending: str, *, taken_back: tuple[str, ...] = ()
) -> tuple[Event, ...]:
    """Return the events by which an ended deployment lets go and the next one in line holds."""
    if target.holder != deployment:
        return (Target.Left(deployment=deployment),) if deployment in target.queue else ()
    revision = target.revision_of(deployment)
    is_live = revision is not None and target.live is revision
    healthy = revision.id if revision and is_live and ending == "succeeded" else None
    released = Target.Released(
        deployment=deployment, ending=ending, healthy=healthy, taken_back=taken_back
    )
    return (released, *(Target.Held(deployment=next_one) for next_one in target.queue[:1]))


def _runs(target: Target, revision: str, instances: tuple[Place, ...]) -> dict[str, object]:
    return {
        "running": (*_without(target.running, revision), revision),
        "places": {**target.places, revision: instances},
    }


def _retired(target: Target, revision: str) -> dict[str, object]:
    running = _without(target.running, revision)
    kept = revision in target.healthy
    return {
        "running": running,
        "places": {key: value for key, value in target.places.items() if key != revision},
        "revisions": target.revisions
        if kept
        else {key: value for key, value in target.revisions.items() if key != revision},
    }


def _released(target: Target, event: Target.Released) -> dict[str, object]:
    healthy = tuple(r for r in target.healthy if r not in event.taken_back)
    if event.healthy:
        healthy = (*_without(healthy, event.healthy), event.healthy)[-HEALTHY_KEPT:]
    kept = {*healthy, *target.running, target.serving.live if target.serving else None}
    return {
        "holder": None,
        "healthy": healthy,
        "snapshot": None,
        "revisions": {key: value for key, value in target.revisions.items() if key in kept},
        "finished": (*target.finished, event.deployment)[-FINISHED_KEPT:],
    }


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)
