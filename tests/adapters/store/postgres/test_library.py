"""The eventsourcing library reads the log on PostgreSQL: its Application and its own recorder."""

from collections.abc import AsyncIterator, Iterable

import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import NotSupportedError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder

from shipslog.adapters.store.postgres.recorder import LedgerRecorder, environment
from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.event import Recorded

from ..making import Happened, appending, draft, one


@pytest.fixture
async def application(database: str) -> AsyncIterator[Application[str]]:
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    await store.log.append(appending(draft("a", 1), draft("b", 1), draft("a", 2)))
    await store.log.append(one("a", 3, event=Happened(what="the third")))
    await store.close()
    application = Application[str](env=environment(database))
    yield application
    application.close()


def told(initial: list[str] | None, events: Iterable[Recorded]) -> list[str] | None:
    lines = [event.event.what for event in events if isinstance(event.event, Happened)]
    return (initial or []) + lines or None


def test_the_plain_application_folds_a_stream(application: Application[str]) -> None:
    repository = application.repository
    state = repository.get("a", projector_func=told)  # type: ignore[type-var]
    assert state == ["something", "something", "the third"]
    with pytest.raises(AggregateNotFoundError):
        repository.get("c", projector_func=told)  # type: ignore[type-var]


def test_its_notification_log_has_our_positions(application: Application[str]) -> None:
    log = application.notification_log
    assert [n.id for n in log.select(start=None, limit=10)] == [1, 2, 3, 4]
    assert [n.id for n in log.select(start=2, limit=2, inclusive_of_start=False)] == [3, 4]
    assert [n.id for n in log.select(start=1, limit=10, stop=2)] == [1, 2]
    assert [n.id for n in log.select(start=1, limit=10, topics=["test.other"])] == []
    assert [n.id for n in log.select(start=4, limit=10, topics=["test.happened"])] == [4]
    assert application.recorder.max_notification_id() == 4
    (last,) = log.select(start=4, limit=1)
    event = application.mapper.to_domain_event(last)
    assert isinstance(event, Recorded)
    assert (event.position, event.originator_id, event.originator_version) == (4, "a", 3)


def test_it_does_not_write(application: Application[str]) -> None:
    with pytest.raises(NotSupportedError, match=r"through Log\.append"):
        application.recorder.insert_events([StoredEvent("a", 4, "test.happened", b"{}\n{}")])


def test_its_own_recorder_selects_from_our_table(application: Application[str]) -> None:
    recorder = application.recorder
    assert isinstance(recorder, LedgerRecorder)
    stock = PostgresApplicationRecorder(recorder.datastore)
    assert [event.originator_version for event in stock.select_events("a")] == [1, 2, 3]
    assert [e.originator_version for e in stock.select_events("a", gt=1, desc=True)] == [3, 2]
