"""Appends to a data folder until it is killed, and prints what was acknowledged."""

import asyncio
import sys
from pathlib import Path

from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef

sys.path.insert(0, str(Path(__file__).parents[4]))

from tests.adapters.store.making import START, Happened


def append(client: str, round_number: int) -> Append:
    """Two streams in one append, three events."""
    own, shared = f"own:{client}", f"pair:{client}"
    asked = CommandRef(f"{client}/{round_number}", "0" * 64)
    places = ((own, 2 * round_number + 1), (shared, round_number + 1), (own, 2 * round_number + 2))
    drafts = tuple(
        Draft(
            stream=stream,
            version=version,
            event=Happened(),
            occurred_at=START,
            actor="sub_test",
            command=asked,
        )
        for stream, version in places
    )
    return Append(drafts=drafts, commands=(asked,))


async def main(data: Path, life: str) -> None:
    store = SqliteStore.open(data)

    async def client(name: str) -> None:
        round_number = 0
        while True:
            appended = await store.log.append(append(name, round_number))
            sys.stdout.write(f"{name}/{round_number} {appended.first} {appended.last}\n")
            sys.stdout.flush()
            round_number += 1

    await asyncio.gather(*(client(f"{life}.{n}") for n in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
