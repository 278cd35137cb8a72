"""One seeded script gives equal logs on both stores, but for salts."""

import asyncio
import random
from pathlib import Path

from msgspec.structs import replace

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.append import Append, Draft, Due
from shipslog.domain.event import Fence, Header

from .contract import Store, shut
from .making import START, HandClock, appending, command, draft

GROUPS = 60
SEED = 3


def some_append(chance: random.Random, versions: dict[str, int]) -> Append:
    asked = command(f"c{chance.randint(0, 400)}", chance.choice(["", "", "", "other"]))
    drafts: list[Draft] = []
    for stream in chance.sample(["a", "b", "c", "target:staging/web", "é"], chance.randint(0, 3)):
        version = versions.get(stream, 0) + chance.choice([1, 1, 1, 1, 1, 1, 0, 2])
        fence = chance.choice([None, Fence(chance.randint(1, 9), 1)])
        drafts.append(draft(stream, version, command=asked, fence=fence))
    expects = {chance.choice("abc"): chance.randint(0, 3)} if chance.random() < 0.1 else {}
    due = (Due(chance.choice("abc"), chance.choice([START, None])),)
    return appending(*drafts, commands=(asked,), expects=expects, due=due)


async def played(store: Store, clock: HandClock, seed: int) -> list[str]:
    """Append groups at once: some conflict, some repeat a command, some change its body."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    told, versions = list[str](), dict[str, int]()
    for _ in range(GROUPS):
        group = [some_append(chance, versions) for _ in range(chance.randint(1, 9))]
        outcomes = await asyncio.gather(
            *(store.log.append(append) for append in group), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                told.append(f"{type(outcome).__name__} {outcome}")
                continue
            told.append(f"{outcome.first} {outcome.last} {outcome.known}")
            versions |= {e.header.stream: e.header.stream_version for e in outcome.events}
        clock.move(1)
    return told


def headers(store: Store) -> list[Header]:
    return [replace(event.header, payload_sha256="") for event in store.log.scan()]


async def test_equal_scripts_give_equal_logs(database: str, tmp_path: Path) -> None:
    ours, theirs = HandClock(), HandClock()
    sqlite = SqliteStore.open(tmp_path / "data", ours)
    postgres = await PostgresStore.open(database, theirs, Terms(Release.AFTER_FLUSH))
    told = await played(sqlite, ours, SEED)
    assert told == await played(postgres, theirs, SEED)
    assert {line.split()[0] for line in told if not line[0].isdigit()} == {
        "ConflictError",
        "IdempotencyMismatchError",
    }
    assert any(line.endswith("True") for line in told)
    assert headers(sqlite) == headers(postgres)
    assert len(headers(sqlite)) > 50
    due = [[lease.stream for lease in await s.work.claim("me", 9)] for s in (sqlite, postgres)]
    assert due[0] == due[1]
    await shut(sqlite)
    await shut(postgres)
