"""What was folded last is remembered for as long as it is true, and looked up where it is not."""

from collections.abc import Sequence

import msgspec
import pytest
from sqlalchemy import Connection, update

from shipslog.domain.event import Recorded
from shipslog.projections import READ_MODELS, deployments
from shipslog.projections.deployments import Deployments
from shipslog.projections.deployments.rows import TABLE
from shipslog.projections.follower import SqliteViews, Views
from shipslog.projections.follower.read_model import Memory

from ..counting import Counting, fingerprints
from ..engines import Engine

RUNNING = 20
"""A position at which a deployment runs on."""


def running_one(events: Sequence[Recorded]) -> str:
    """Return a deployment that has begun by then and is not over."""
    first = next(e for e in events if e.header.topic == "deployment.requested")
    mine = [e.position for e in events if e.header.stream == first.header.stream]
    assert mine[0] < RUNNING < mine[-1]
    return str(first.header.deployment)


def artifact(views: Views, name: str) -> str | None:
    """Return what a deployment's row says that nothing but its request has said."""
    with views.reading() as db:
        document = deployments.get(db, name)
    assert document is not None
    return document.artifact


def tell_otherwise(views: Views, name: str) -> None:
    """Change a document behind the back of whoever folds."""
    with views.writing() as db:
        document = deployments.get(db, name)
        assert document is not None
        told = msgspec.structs.replace(document, artifact="told otherwise")
        text = msgspec.json.encode(told).decode()
        db.execute(update(TABLE).where(TABLE.c.id == name).values(document=text))


def replaced(views: Views, events: Sequence[Recorded], name: str) -> None:
    """Put rows in the place of a deployment's, as `rebuild --stream` does."""
    mine = [e for e in events if e.header.stream == f"deployment:{name}"]
    part = SqliteViews(None, [Deployments()], is_lasting=False)
    part.open()
    part.take(mine)
    tell_otherwise(part, name)
    views.exchange(Deployments().rows_of(mine[0].header), {mine[0].header.stream}, part)
    part.close()


@pytest.mark.parametrize("size", [1, 3])
def test_what_was_folded_last_is_not_looked_up(
    engine: Engine, events: Sequence[Recorded], size: int
) -> None:
    views, name = engine.new(), running_one(events)
    views.apply(events[:RUNNING])
    tell_otherwise(views, name)
    for at in range(RUNNING, len(events), size):
        views.apply(events[at : at + size])
    whole = engine.new()
    whole.apply(events)
    assert fingerprints(views) == fingerprints(whole)


def test_what_is_put_in_the_place_of_rows_is_folded_on(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views, name = engine.new(), running_one(events)
    views.apply(events[:RUNNING])
    replaced(views, events[:RUNNING], name)
    for event in events[RUNNING:]:
        views.apply([event])
    assert artifact(views, name) == "told otherwise"


def test_views_that_were_taken_over_are_folded_on(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views, name = engine.new(), running_one(events)
    views.apply(events[:RUNNING])
    new = views.beside()
    new.begin()
    new.apply(events[:RUNNING])
    tell_otherwise(new, name)
    views.hold()
    assert views.become(new)
    views.let_go(keep=True)
    new.discard()
    for event in events[RUNNING:]:
        views.apply([event])
    assert artifact(views, name) == "told otherwise"


@pytest.mark.parametrize("size", [7, 200])
def test_what_is_taken_back_is_forgotten(
    engine: Engine, events: Sequence[Recorded], size: int
) -> None:
    class Faltering(Counting):
        """Has no memory left, once, when all others have folded."""

        has_faltered = False

        def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
            if events[-1].position > RUNNING and not self.has_faltered:
                self.has_faltered = True
                raise MemoryError
            super().apply(db, events)

    faltering = Faltering()
    views = engine.new([*READ_MODELS, faltering])
    views.apply(events[: RUNNING - 5])
    views.apply(events[RUNNING - 5 : RUNNING])
    for at in range(RUNNING, len(events), size):
        batch = events[at : at + size]
        try:
            views.apply(batch)
        except MemoryError:
            views.apply(batch)
    assert faltering.has_faltered
    whole = engine.new([*READ_MODELS, Counting()])
    whole.apply(events)
    assert fingerprints(views) == fingerprints(whole)


def test_the_longest_untouched_is_forgotten_first() -> None:
    memory = Memory(30)
    for key in "abc":
        memory.keep("one", key, key.upper(), 10)
    memory.keep("other", "a", "another", 0)
    assert memory.recall("one", "a") == {"a": "A"}
    memory.keep("one", "d", "D", 10)
    assert memory.recall("one", "abcd") == {"a": "A", "c": "C", "d": "D"}
    memory.keep("one", "a", "AA", 20)
    assert memory.recall("one", "abcd") == {"d": "D", "a": "AA"}
    memory.drop("one", "d")
    memory.drop("one", "never")
    memory.keep("one", "e", "E", 10)
    assert memory.recall("one", "abcde") == {"a": "AA", "e": "E"}
    memory.keep("one", "f", "too large", 31)
    assert memory.recall("one", "abcdef") == {}
    memory.keep("one", "g", "G", 30)
    memory.forget()
    assert memory.recall("one", "g") == {}
