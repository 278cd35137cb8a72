"""A process that reads a part of the log and decodes its headers; prints how many events."""

import asyncio
import sys
from collections import deque

from shipslog.adapters.store.postgres.store import PostgresStore


def main(url: str, after: int, upto: int) -> None:
    archive = asyncio.run(PostgresStore.read_only(url))
    deque(archive.log.scan(after=after, upto=after + 1), maxlen=0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    (number, _) = deque(enumerate(archive.log.scan(after=after, upto=upto), 1), maxlen=1).pop()
    sys.stdout.write(f"{number}\n")
    # Who measures waits for this line, and not for the end of an interpreter.
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
