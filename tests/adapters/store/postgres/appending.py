"""Appends to a database until it is killed or has done so often enough; prints each answer."""

import asyncio
import sys
from pathlib import Path

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import Release
from shipslog.domain.append import Append, Appended
from shipslog.domain.errors import ConflictError, RetryableError

sys.path.insert(0, str(Path(__file__).parents[4]))

from tests.adapters.store.making import appending, command, draft

CLIENTS = 4
SHARED = "shared"


def pair(client: str, number: int) -> Append:
    """Three events in two streams of the client's own."""
    asked = command(f"{client}/{number}")
    places = ((client, 2 * number + 1), (f"pair:{client}", number + 1), (client, 2 * number + 2))
    return appending(*(draft(s, v, command=asked) for s, v in places), commands=(asked,))


async def settled(store: PostgresStore, append: Append) -> Appended:
    """Append until it is answered: the command id says whether it was stored before."""
    while True:
        try:
            return await store.log.append(append)
        except ConflictError:
            raise
        except RetryableError:
            await asyncio.sleep(0.05)


async def client(store: PostgresStore, name: str, rounds: int) -> None:
    for number in range(rounds):
        append = pair(name, number)
        say(f"asked {append.commands[0].id}")
        answer = await settled(store, append)
        say(f"{append.commands[0].id} {answer.first} {answer.last}")
        if number % 5 == 0:
            await contend(store, f"{name}/{number}")


async def contend(store: PostgresStore, name: str) -> None:
    """Write the next version of the stream that every client of every process writes to."""
    asked = command(f"shared {name}")
    while True:
        version = len(await store.log.stream(SHARED)) + 1
        try:
            answer = await settled(store, appending(draft(SHARED, version, command=asked)))
        except ConflictError:
            continue
        say(f"{asked.id} {answer.first} {answer.last}")
        return


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, name: str, release: str, rounds: str) -> None:
    store = await PostgresStore.open(url, terms=Terms(Release(release)))
    clients = (client(store, f"{name}.{n}", int(rounds)) for n in range(CLIENTS))
    await asyncio.gather(*clients)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
