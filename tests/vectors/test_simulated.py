"""Faults that the simulation has met, or must meet, each as the least schedule that shows it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product

import pytest

from shipslog.domain.deployment import Deployment
from shipslog.domain.event import Recorded
from tests.simulation.faults import Fault
from tests.simulation.people import Wish
from tests.simulation.schedule import Outcome, run
from tests.simulation.town import Plan

LATE = timedelta(seconds=8)
"""What the platform gets to end things, and the worker to write of it."""


def outcome(*faults: Fault, workers: int = 2, deploys: str = "web 1.1.0") -> Outcome:
    """Return what comes of one deployment under some faults."""
    return run(Plan(1, workers, faults, (Wish(0.0, "deploy", deploys),), has_readers=False))


@pytest.mark.parametrize("at", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_a_platform_that_is_gone_fails_a_switch_by_its_deadline(at: float) -> None:
    done = outcome(Fault("platform down", at, much=400.0), workers=1)
    assert done.violations == []
    assert list(late(done.log)) == []


@pytest.mark.parametrize("at", [0.3, 0.8, 1.2])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_store_that_cannot_be_read_for_a_while_costs_no_worker(at: float, workers: int) -> None:
    done = outcome(Fault("store cut", at, much=5.0), workers=workers)
    assert done.violations == []
    assert done.reached["deployment.succeeded"]


@pytest.mark.parametrize("verb", ["abort", "rollback"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_arrives_after_its_own_undoing_is_refused(
    verb: str, workers: int, number: int
) -> None:
    """Seed 4502: a request to start, route or retire is on its way longer than the undoing takes.

    The version that is rolled back would run unknown to the log, or have the requests.
    """
    overtaken = (Fault("request overtaken", number),)
    wishes = (Wish(0.0, "deploy", "web 1.1.0"), Wish(1.3, verb, whom=-1))
    done = run(Plan(4502, workers, overtaken, wishes, has_readers=False))
    assert done.violations == []
    assert done.reached["refused as stopped"] == 1


def test_who_is_caught_as_it_sends_changes_nothing_that_the_next_owner_has_told_of() -> None:
    """It makes sure of its lease, stands still for longer than that, and then sends its switch.

    Meanwhile an instance dies, so the next owner does not switch; the store is slow, so that for a
    while this is told and not undone yet.
    """
    slow, refused = Fault("store slow", 4.0, much=6.0), 0
    for at, hundredths in product((1.5, 2.0, 2.5), range(600, 900, 30)):
        caught = Fault("sender caught", 5, much=hundredths / 100)
        done = outcome(caught, Fault("instance dies", at, -1), slow)
        assert done.violations == []
        refused += done.reached["refused at the target"]
    assert refused


def late(log: list[Recorded]) -> Iterator[str]:
    """Yield the tries that ended long after their deadline."""
    plans = {
        e.header.stream: e.event.plan for e in log if isinstance(e.event, Deployment.Requested)
    }
    undo = {
        (e.header.stream, stage.name): stage
        for e in log
        if isinstance(e.event, Deployment.RollbackStarted)
        for stage in e.event.stages
    }
    begun: dict[tuple[str, str], datetime] = {}
    for recorded in log:
        event, stream, at = recorded.event, recorded.header.stream, recorded.header.occurred_at
        if isinstance(event, Deployment.StageStarted):
            begun[stream, event.stage] = at
        elif isinstance(event, Deployment.StageFinished):
            stage = undo.get((stream, event.stage)) or plans[stream].stage(event.stage)
            taken = at - begun[stream, event.stage]
            if taken > timedelta(seconds=stage.timeout) + LATE:
                yield f"{recorded.reference}: {event.stage} took {taken}"


@pytest.mark.parametrize("number", range(3, 9))
def test_an_append_that_comes_after_its_lease_has_ended_is_refused(number: int) -> None:
    """Its sender has died, and nobody has taken over yet."""
    done = outcome(Fault("writer dies", number), workers=1)
    assert done.violations == []
    assert done.reached["refused at the log"] == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_lease_that_its_own_worker_takes_again_finds_an_owner(seed: int) -> None:
    """Both workers stand still beyond their leases, and claim as soon as they go on."""
    pauses = (Fault("pause worker", 2.8, 1, 7.6), Fault("pause worker", 4.3, 0, 7.4))
    wishes = tuple(Wish(at, "deploy", f"web 1.1.{n}") for n, at in enumerate((1.6, 2.1)))
    done = run(Plan(seed, 2, pauses, wishes, has_readers=False))
    assert done.violations == []


@pytest.mark.parametrize("model", range(5))
def test_poison_stops_one_stream_of_one_read_model(model: int) -> None:
    poison = tuple(Fault("poison", at, whom=model) for at in range(12))
    done = run(Plan(1, 1, poison, (Wish(0.0, "deploy", "web 1.1.0"),), has_readers=True))
    assert done.violations == []


def test_a_worker_that_hears_of_nothing_finds_its_work_all_the_same() -> None:
    done = outcome(Fault("deaf", 0.0, much=20.0))
    assert done.violations == []
    assert done.reached["deployment.succeeded"]


def test_what_has_ended_is_not_aborted() -> None:
    wishes = (Wish(0.0, "deploy", "web 1.1.0"), Wish(8.0, "abort", whom=-1))
    done = run(Plan(1, 1, (), wishes, has_readers=False))
    assert done.violations == []
    assert done.reached["refused state-conflict"]


@pytest.mark.parametrize("undone_at", [3.05, 3.1, 3.15])
def test_what_a_step_back_brought_up_is_known_where_its_address_is_taken(undone_at: float) -> None:
    """The old revision is retired, and started again, and cannot be routed to."""
    taken = (Fault("address taken", 2.85, much=3.5),)
    wishes = (Wish(2.325, "rollback", whom=-1), Wish(undone_at, "rollback", whom=-1))
    done = run(Plan(1, 2, taken, wishes, has_readers=False))
    assert done.violations == []
    assert done.reached["deployment.rollback_failed"]
