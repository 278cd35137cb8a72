"""The read side on the real log: followed while it is written, rebuilt and checked offline."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef, Recorded
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, Projector, SqliteViews
from shipslog.projections.replay import check, replay_all

from ..counting import fingerprints

SECONDS = 10.0


def again(recorded: Recorded) -> Append:
    """Return the append that stores an event once more, in another log."""
    header = recorded.header
    command = CommandRef(f"{recorded.position:064x}", "0" * 64)
    draft = Draft(
        stream=header.stream,
        version=header.stream_version,
        event=recorded.event,
        occurred_at=header.occurred_at,
        actor=header.actor,
        command=command,
        environment=header.environment,
        service=header.service,
        deployment=header.deployment,
        correlation=header.correlation,
    )
    return Append(drafts=(draft,), commands=(command,))


async def test_what_is_written_is_seen_and_can_be_rebuilt_and_checked_offline(
    tmp_path: Path, events: Sequence[Recorded]
) -> None:
    store = SqliteStore.open(tmp_path)
    follower = Follower(store.log, SqliteViews(tmp_path / "views.db", READ_MODELS))
    await follower.open()
    task = asyncio.create_task(follower.run())
    for event in events:
        appended = await store.log.append(again(event))
        await follower.reached(appended.last, SECONDS)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    before = fingerprints(follower.views)
    await follower.close()
    store.close()

    archive = SqliteStore.read_only(tmp_path)
    offline = Projector(archive.log, SqliteViews(tmp_path / "views.db", READ_MODELS))
    assert await offline.open() == len(events)
    assert list(check(archive.log.scan(), offline.views)) == []
    assert (await offline.rebuild()).events == len(events)
    assert fingerprints(offline.views) == before
    assert replay_all(archive.log.scan()).position == len(events)
    await offline.close()
    archive.close()
