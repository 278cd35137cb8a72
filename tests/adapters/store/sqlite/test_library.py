"""The eventsourcing library reads the log: its Application, its Repository, its own recorder."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import NotSupportedError, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from shipslog.adapters.store.library import LedgerMapper
from shipslog.adapters.store.sqlite.recorder import environment
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.event import Recorded

from ..making import Happened, appending, draft, one


@pytest.fixture
async def ledger(store: SqliteStore, data: Path) -> Path:
    await store.log.append(appending(draft("a", 1), draft("b", 1), draft("a", 2)))
    await store.log.append(one("a", 3, event=Happened(what="the third")))
    return data / "ledger.db"


@pytest.fixture
def application(ledger: Path) -> Iterator[Application[str]]:
    application = Application[str](env=environment(ledger))
    yield application
    application.close()


def told(initial: list[str] | None, events: Iterable[Recorded]) -> list[str] | None:
    """A projector: what happened, in order; None where nothing did."""
    lines = [event.event.what for event in events if isinstance(event.event, Happened)]
    return (initial or []) + lines or None


def test_the_plain_application_folds_a_stream(application: Application[str]) -> None:
    repository = application.repository
    state = repository.get("a", projector_func=told)  # type: ignore[type-var]
    assert state == ["something", "something", "the third"]
    assert repository.get("a", version=2, projector_func=told) == 2 * ["something"]  # type: ignore[type-var]
    with pytest.raises(AggregateNotFoundError):
        repository.get("c", projector_func=told)  # type: ignore[type-var]


def test_its_notification_log_has_our_positions(application: Application[str]) -> None:
    log = application.notification_log
    assert [n.id for n in log.select(start=None, limit=10)] == [1, 2, 3, 4]
    assert [n.id for n in log.select(start=2, limit=2)] == [2, 3]
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
    event = StoredEvent("a", 4, "test.happened", b"{}\n{}")
    with pytest.raises(NotSupportedError, match=r"through Log\.append"):
        application.recorder.insert_events([event])
    assert application.recorder.max_notification_id() == 4


def test_its_own_recorder_selects_from_our_table(ledger: Path) -> None:
    datastore = SQLiteDatastore(f"{ledger.as_uri()}?mode=ro", originator_id_type="text")
    stock = SQLiteApplicationRecorder(datastore)
    events = stock.select_events("a")
    assert [event.originator_version for event in events] == [1, 2, 3]
    assert [e.originator_version for e in stock.select_events("a", gt=1, desc=True)] == [3, 2]
    assert stock.max_notification_id() == 4
    datastore.close()


@pytest.mark.usefixtures("ledger")
async def test_the_mapper_gives_back_the_stored_bytes(store: SqliteStore) -> None:
    mapper = LedgerMapper(transcoder=None)  # type: ignore[arg-type]
    for event in await store.log.page(after=0, limit=10):
        row = mapper.to_stored_event(event)
        again = mapper.to_domain_event(row)
        assert isinstance(again, Recorded)
        assert (again.header, again.payload) == (event.header, event.payload)
        assert mapper.to_stored_event(again) == row
