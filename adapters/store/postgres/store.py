"""PostgresStore: everything that is kept in one database, opened and closed together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from ....domain.errors import BrokenError
from ..keyring import Keyring
from ..seen import recall
from .channel import Questions
from .connections import Connections
from .durable import DurableHead
from .line.meeting import Line
from .line.watching import Watch
from .log import PostgresLog
from .reading import STREAMS, PostgresReader
from .schema import require_ledger
from .tables.blobs import Outputs, PostgresBlobs
from .tables.people import PostgresDirectory, PostgresKeys
from .tables.tokens import PostgresTokens
from .tables.work import CLAIMS, PostgresWork
from .writer import Release, Writer

Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Terms:
    """How a process shares its database with others."""

    release: Release = Release.MEASURED
    lease: timedelta = timedelta(seconds=15)
    memory: Path | None = None
    """The file in which this host keeps what it has seen of the log; None for one that forgets."""


class PostgresArchive:
    """A ledger that is only read: for replay, verify and export."""

    def __init__(self, connections: Connections, now: Now) -> None:
        self._connections = connections
        self._questions = Questions(connections, STREAMS)
        self.log = PostgresReader(connections, DurableHead(connections), self._questions)
        self.blobs = PostgresBlobs(connections, now, Outputs())
        self.directory = PostgresDirectory(connections, now)
        self.keyring = Keyring(PostgresKeys(connections, now))

    async def close(self) -> None:
        """Close every connection."""
        await self._questions.close()
        await self._connections.close()


class PostgresStore:
    """A ledger shared with any number of processes; the ports are its attributes."""

    def __init__(self, connections: Connections, now: Now, terms: Terms, line: Line) -> None:
        head = DurableHead(connections, line)
        self._line = line
        self._watch = Watch(connections, line, terms.memory, terms.lease) if terms.memory else None
        self._outputs = outputs = Outputs()
        writer = Writer(connections, head, now, terms.release, outputs)
        self._writer = writer
        self._connections = connections
        self._questions = Questions(connections, STREAMS | CLAIMS)
        self.log = PostgresLog(connections, head, self._questions, writer)
        self.work = PostgresWork(connections, now, terms.lease, self._questions)
        self.blobs = PostgresBlobs(connections, now, outputs)
        self.directory = PostgresDirectory(connections, now)
        self.keyring = Keyring(PostgresKeys(connections, now))
        self.tokens = PostgresTokens(connections, now)

    @classmethod
    async def open(cls, url: str, now: Now = _now, terms: Terms | None = None) -> Self:
        """Open a database that `create` has made.

        Errors: StoreUnreachableError, StandbyError, OldPrimaryError; BrokenError for one that
        cannot be used, would not last, or has lost what this host has seen.
        """
        terms = terms or Terms()
        line = Line(recall(terms.memory) if terms.memory else None)
        connections = Connections(url, line)
        async with AsyncExitStack() as opening:
            opening.push_async_callback(connections.close)
            async with connections.borrow() as connection:
                await require_ledger(connection)
            opening.pop_all()
        store = cls(connections, now, terms, line)
        store._writer.connect()
        if store._watch:
            store._watch.begin()
        return store

    @staticmethod
    async def read_only(url: str, now: Now = _now) -> PostgresArchive:
        """Open a database to be read. Errors: as for `open`."""
        connections = Connections(url)
        try:
            async with connections.borrow() as connection:
                await require_ledger(connection)
        except BaseException:
            await connections.close()
            raise
        return PostgresArchive(connections, now)

    @property
    def accepted(self) -> int:
        """How often an operator of this host had taken a log as it is when this was opened."""
        return self._line.seen.accepted

    @property
    def broken(self) -> BrokenError | None:
        """Why nothing may go on with this log in this process, or None."""
        return self._line.broken

    @property
    def waiting(self) -> int:
        """How many appends wait for the writer."""
        return self._writer.waiting

    async def close(self) -> None:
        """Write what is queued and close every connection."""
        await self._writer.close()
        await self.blobs.close()
        await self.log.close()
        await self._questions.close()
        if self._watch:
            await self._watch.close()
        await self._connections.close()
