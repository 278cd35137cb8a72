"""F36: a fold that does not end, or takes all memory, is called off and its stream parked."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from sqlalchemy import Connection

from shipslog.domain.event import Recorded
from shipslog.projections.deployments import Deployments
from shipslog.projections.follower import Projector, limits, threads
from shipslog.projections.follower.limits import FoldLimitError, Limited

from ..counting import Counting, fingerprints
from ..engines import Engine
from .growing_log import GrowingLog

SECONDS = 0.5
"""Of processor time: more than every sound fold here takes together."""
KIBIBYTES = 64 * 1024
"""Beyond whatever the tests before had."""
POISON = 8


class Turning(Counting):
    """Never gets done with one event."""

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        for event in events:
            while event.position == self.poison:
                pass
            super().apply(db, [event])


class Devouring(Counting):
    """Takes more and more memory for one event."""

    def apply(self, db: Connection, events: Sequence[Recorded]) -> None:
        taken: list[bytes] = []
        for event in events:
            while event.position == self.poison:
                taken.append(b"x" * 1024 * 1024)
            super().apply(db, [event])


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLD_SECONDS", SECONDS)
    monkeypatch.setattr(limits, "FOLD_KIBIBYTES", KIBIBYTES)
    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.01)


@pytest.fixture
def switching() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def log(events: Sequence[Recorded]) -> GrowingLog:
    return GrowingLog(events, shown=30)


class Excess(NamedTuple):
    """A fold beyond one limit, what is said of it, and the limit that it must not meet."""

    kind: type[Counting]
    complaint: str
    unlimited: str


@pytest.mark.parametrize(
    "excess",
    [
        Excess(Turning, "of processor time", "FOLD_KIBIBYTES"),
        Excess(Devouring, "MiB of memory", "FOLD_SECONDS"),
    ],
    ids=lambda excess: excess.kind.__name__,
)
async def test_the_event_is_parked_and_all_others_are_folded(
    engine: Engine, log: GrowingLog, monkeypatch: pytest.MonkeyPatch, excess: Excess
) -> None:
    # Which of two limits is met first would be up to the machine.
    monkeypatch.setattr(limits, excess.unlimited, 2**40)
    model = excess.kind(POISON)
    projector = Projector(log, engine.new([model, Deployments()]))
    await projector.open()
    assert await projector.catch_up() == 30
    (parked,) = projector.views.parked()
    assert (parked.model, parked.position) == ("counting", POISON)
    assert parked.error.startswith("FoldLimitError: it had ")
    assert excess.complaint in parked.error
    sound = engine.new([Counting(), Deployments()])
    sound.apply(log.events[:30])
    assert fingerprints(projector.views)[1] == fingerprints(sound)[1]
    model.poison = 0
    await projector.rebuild_stream(parked.stream)
    assert projector.views.parked() == []
    assert fingerprints(projector.views) == fingerprints(sound)
    await projector.close()


async def test_a_rebuild_calls_it_off_too(engine: Engine, log: GrowingLog) -> None:
    projector = Projector(log, engine.new([Turning(POISON)]))
    await projector.open()
    await projector.rebuild()
    assert [one.position for one in projector.views.parked()] == [POISON]
    await projector.close()


def test_a_fold_that_waits_is_not_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLD_SECONDS", 0.1)
    limited, go_on, looks = Limited(), threading.Event(), 0
    done = in_thread(limited, go_on.wait)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        limited.look()
        looks += 1
    go_on.set()
    assert (done(), looks > 1) == (None, True)


@pytest.mark.usefixtures("switching")
def test_what_comes_after_a_fold_is_not_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLD_SECONDS", 0.0)
    limited, ended = Limited(), threading.Event()

    def look_on() -> None:
        while not ended.is_set():
            limited.look()

    looking = threading.Thread(target=look_on)
    looking.start()
    called_off = 0
    try:
        until = time.monotonic() + 60
        while called_off < 200 and time.monotonic() < until:
            try:
                limited.fold(lambda: sum(range(50)))
            except FoldLimitError:
                called_off += 1
    finally:
        ended.set()
        looking.join()
    assert called_off == 200


def in_thread(limited: Limited, job: Callable[[], object]) -> Callable[[], BaseException | None]:
    """Do a job as a fold in a thread; return what waits for its end and returns its error."""
    errors: list[BaseException] = []

    def fold() -> None:
        try:
            limited.fold(job)
        except BaseException as error:  # noqa: BLE001 - it is what is asked for
            errors.append(error)

    thread = threading.Thread(target=fold)
    thread.start()

    def ended() -> BaseException | None:
        thread.join()
        return errors[0] if errors else None

    return ended
