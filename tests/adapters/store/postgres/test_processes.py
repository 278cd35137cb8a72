"""Many writing processes and a reader: one order, nothing skipped, also when some are killed."""

import asyncio

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release

from .watching import Acknowledged, Reader, acknowledged, check, start_writer

WRITERS = 8
ROUNDS = 12
KILLED = 3
RELEASES = (Release.EARLY, Release.AFTER_FLUSH, Release.EARLY)


async def test_a_reader_skips_nothing_of_what_eight_processes_write(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.EARLY))
    reader = Reader(store)
    following = asyncio.create_task(reader.follow())
    # Each process decides for itself when it releases the lock; the order is one.
    releases = [Release.EARLY, Release.EARLY, Release.AFTER_FLUSH] * WRITERS
    writers = [start_writer(database, f"w{n}", releases[n], ROUNDS) for n in range(WRITERS)]
    said = await asyncio.gather(*(asyncio.to_thread(w.communicate) for w in writers))
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    answers = acknowledged(line for out, _ in said for line in out.splitlines(keepends=True))
    head = await store.log.head()
    await reader.reach(head)
    following.cancel()
    log = list(store.log.scan())
    check(log, reader.seen, answers)
    assert len(reader.seen) == len(log) == WRITERS * 4 * (3 * ROUNDS + 3)
    assert len(answers) == WRITERS * 4 * (ROUNDS + 3)
    assert list(store.log.verify()) == []
    await store.close()


async def test_what_was_acknowledged_outlives_a_killed_writer(database: str) -> None:
    store = await PostgresStore.open(database, terms=Terms(Release.EARLY))
    reader = Reader(store)
    following = asyncio.create_task(reader.follow())
    answers: Acknowledged = {}
    for life, lines in enumerate((3, 40, 150)):
        writers = [start_writer(database, f"{life}.{n}", RELEASES[n], 1000) for n in range(KILLED)]
        for writer in writers:
            assert writer.stdout
            said = [await asyncio.to_thread(writer.stdout.readline) for _ in range(lines)]
            writer.kill()
            said += await asyncio.to_thread(writer.stdout.readlines)
            writer.wait()
            writer.stdout.close()
            answers |= acknowledged(said)
    await reader.reach(await store.log.head())
    following.cancel()
    check(list(store.log.scan()), reader.seen, answers)
    assert list(store.log.verify()) == []
    assert len(answers) > KILLED * 50
    await store.close()
