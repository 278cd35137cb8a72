"""PostgresViews: the rows of every read model in one schema, for any number of processes.

Of those that follow the log one moves the views: it holds a lock for as long as its connection
lasts. The others read, and hear from it how far it is. What two of them would store at once is
stored once: progress is locked first and compared when it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import ClassVar, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from ....domain.errors import OverloadedError
from ....domain.event import Recorded
from ..limits import has_room
from ..read_model import ReadModel
from ..views import (
    Applied,
    Look,
    Moved,
    OutdatedViewsError,
    UnreachableViewsError,
    Views,
    standing,
)
from . import batching, schema
from .connecting import IDLE_SECONDS, async_readers, readers, writer
from .listening import Listening, announcement
from .rows import driver

SWAP_MILLISECONDS = 50
"""How long a swap waits for those who read, and those for it who begin to."""

Result = TypeVar("Result")


class PostgresViews(Views):
    """The rows of read models in a database that `create` or the migrations have made ready."""

    is_shared: ClassVar[bool] = True

    def __init__(self, url: str, models: Sequence[ReadModel], *, name: str = schema.SCHEMA) -> None:
        super().__init__(models)
        self.url = url
        """Of the database."""
        self.name = name
        """Of the schema."""
        self._engine: Engine = writer(url, name)
        self._readers: Engine = readers(url, name)
        self._async_readers: AsyncEngine | None = None
        self._writer: Connection | None = None
        self._listening = Listening(url, name)
        self._leads = False

    def open(self) -> int:
        """Implement `Views.open`. Errors: OutdatedViewsError."""
        with self.writing() as db:
            if schema.revision(db) == schema.REVISION and self.fits(db):
                self.warm(db)
                return standing(db).position
        self.close()
        raise OutdatedViewsError

    def close(self) -> None:
        """Implement `Views.close`; another process may lead from now on."""
        self._disconnect()
        self._engine.dispose()
        self._readers.dispose()

    async def aclose(self) -> None:
        """Implement `Views.aclose`."""
        await self._listening.close()
        await self._dispose()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Implement `Views.reading`."""
        with self._readers.connect() as db, db.begin():
            yield db

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Implement `Views.read`. Errors: UnreachableViewsError, OverloadedError."""
        try:
            return await self._read(query)
        except (DBAPIError, psycopg.Error) as error:
            if not is_lost(error):
                raise
        # Others that lie in the pool are as dead as this one; a new one tells whether all is lost.
        await self._dispose()
        try:
            return await self._read(query)
        except (DBAPIError, psycopg.Error) as error:
            if is_lost(error):
                raise UnreachableViewsError(detail=str(error)) from error
            raise

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Implement `Views.writing`; inside a `hold` it is part of the held transaction."""
        db = self._connection()
        if db.in_transaction():
            yield db
            return
        with self._containing(db), db.begin():
            yield db

    @contextmanager
    def batching(self, events: int) -> Generator[Connection]:
        """Implement `Views.batching`: what is stored goes with what is asked next."""
        with self.writing() as db:
            if not batching.is_small(db, events):
                yield db
                return
            with driver(db).pipeline():
                batching.limit(db)
                yield db

    def is_poison(self, error: Exception) -> bool:
        """Blame an event for what the fold raised, or for a value that no column takes."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.Error):
            return isinstance(cause, psycopg.DataError | psycopg.IntegrityError) or (
                (cause.sqlstate or "").startswith(_TOO_LARGE)
            )
        if isinstance(error, MemoryError):
            return has_room()
        return not isinstance(error, OSError)

    def clear(self) -> None:
        """Implement `Views.clear`."""
        with self.writing() as db:
            schema.lock(db)
            schema.empty(db, self.models)
            self.announce(db, Moved(0, 0, None))

    def beside(self) -> PostgresViews:
        """Return new views in a schema beside."""
        return PostgresViews(self.url, self.models, name=schema.beside(self.name))

    def begin(self) -> bool:
        """Make the schema anew, and remove what a rebuild that was killed has left."""
        if not self._try_lock(schema.REBUILDING):
            return False
        live = self.name.removesuffix(schema.beside(""))
        with self.writing() as db:
            schema.drop(db, schema.before(live))
            schema.drop(db, self.name)
            schema.create(db, self.models, self.name)
        return True

    def become(self, other: Views) -> bool:
        """Implement `Views.become`: a short try, because whoever begins to read waits behind it."""
        with self.writing() as db:
            try:
                with db.begin_nested():
                    schema.lock(db, SWAP_MILLISECONDS)
            except OperationalError as error:
                if isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    return False
                raise
            if schema.revision(db) not in {None, schema.REVISION}:
                raise OutdatedViewsError
            self.memory.forget()
            schema.exchange(db, self.name)
            self.announce(db, Moved(0, other.standing().position, None))
        return True

    def discard(self) -> None:
        """Remove these views if they still are beside, and those whose place they took."""
        try:
            if self._writer is not None:
                live = self.name.removesuffix(schema.beside(""))
                for name in (self.name, schema.before(live)):
                    with self.writing() as db:
                        schema.drop(db, name)
        finally:
            self.close()

    def hold(self) -> None:
        """Implement `Views.hold`: who would move the views waits, who reads them does not."""
        db = self._connection()
        db.begin()
        db.exec_driver_sql("LOCK TABLE progress IN EXCLUSIVE MODE")

    def let_go(self, *, keep: bool) -> None:
        """Implement `Views.let_go`."""
        transaction = self._writer.get_transaction() if self._writer else None
        if transaction is not None:
            try:
                transaction.commit() if keep else transaction.rollback()
            finally:
                if self._writer is None or driver_is_lost(self._writer):
                    self._disconnect()

    def lead(self) -> bool:
        """Implement `Views.lead`; the lock is let go where this process says nothing for long.

        Errors: OutdatedViewsError where nobody leads whose build could move the views.
        """
        if self._leads:
            self._say("SELECT 1")
        elif self._try_lock(schema.LEADING):
            with self.writing() as db:
                if not self.fits(db):
                    raise OutdatedViewsError
            self._leads = True
            self._say(f"SET idle_session_timeout = '{IDLE_SECONDS}s'")
        else:
            self._end_one_that_is_stopped()
        return self._leads

    def place(self) -> tuple[int, int]:
        """Implement `Views.place`."""
        with self.writing() as db:
            position, generation = db.execute(_PLACE).one()
            return int(position), int(generation)

    async def moved(self, timeout: float) -> Moved | None:
        """Implement `Views.moved`."""
        return await self._listening.moved(timeout)

    def announce(self, db: Connection, moved: Moved) -> None:
        """Implement `Views.announce`."""
        driver(db).execute("SELECT pg_notify(%s, %s)", announcement(self.name, moved))

    def look(self, db: Connection) -> Look:
        """Implement `Views.look`."""
        return batching.look(db)

    def move(self, db: Connection, moved: Moved, newest: str) -> str | None:
        """Implement `Views.move`."""
        return batching.move(db, self.name, moved, newest)

    def at_once(self, events: Sequence[Recorded]) -> Applied | None:
        """Implement `Views.at_once`."""
        place, db = self.memory.place, self._connection()
        if (
            place is None
            or not self.memory.is_calm
            or not events
            or events[0].position != place[0] + 1
            or not batching.is_small(db, len(events))
            or db.in_transaction()
        ):
            return None
        with self._containing(db), self.memory.lent(db):
            fold = partial(self.folding.all_at_once, db, self.models, events, ())
            mark = batching.fold_at_once(db, fold, events, self.name, place[1])
        if mark is None:
            self.memory.forget()
            return None
        newest = events[-1].position
        self.memory.place = newest, mark
        return Applied(newest, ())

    def warm(self, db: Connection) -> None:
        """Implement `Views.warm`."""
        super().warm(db)
        batching.warm(db)

    async def _read(self, query: Callable[[Connection], Result]) -> Result:
        if self._async_readers is None:
            self._async_readers = async_readers(self.url, self.name)
        try:
            # What a rollback ends forgets every statement that is prepared.
            async with self._async_readers.begin() as db:
                return await db.run_sync(query)
        except PoolTimeoutError as error:
            raise OverloadedError from error

    async def _dispose(self) -> None:
        if self._async_readers is not None:
            engine, self._async_readers = self._async_readers, None
            await engine.dispose()

    def _end_one_that_is_stopped(self) -> None:
        """End the connection of a leader that was stopped while it sent: no time limit ends that.

        Without the right to, for another login's connection, it is left.
        """
        with suppress(ProgrammingError), self.writing() as db:
            # The role that serves is not the one that logs in, whose connections may be ended.
            db.exec_driver_sql("SET LOCAL ROLE NONE")
            lock = {"high": schema.LEADING >> 32, "low": schema.LEADING & 0xFFFFFFFF}
            db.execute(_END_STOPPED, lock | {"seconds": batching.BATCH_SECONDS})

    def _try_lock(self, lock: int) -> bool:
        with self.writing() as db:
            return bool(db.execute(_TRY, {"lock": lock}).scalar_one())

    def _say(self, statement: str) -> None:
        with self.writing() as db:
            db.exec_driver_sql(statement)

    def _connection(self) -> Connection:
        if self._writer is None:
            self._writer = self._engine.connect()
        return self._writer

    @contextmanager
    def _containing(self, db: Connection) -> Generator[None]:
        """Let go of the connection for whatever no event is to blame for: a new one knows nothing.

        A build that was left behind lets go of its lock too, for a newer one to lead.
        """
        try:
            yield
        except BaseException as error:
            if (
                driver_is_lost(db)
                or isinstance(error, OutdatedViewsError)
                or (isinstance(error, DBAPIError | psycopg.Error) and not self.is_poison(error))
            ):
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        self._leads = False
        self.memory.forget()
        if self._writer is not None:
            connection, self._writer = self._writer, None
            connection.invalidate()
            connection.close()


_PLACE = text("SELECT position, tableoid::bigint FROM progress")
_TRY = text("SELECT pg_try_advisory_lock(:lock)")
_END_STOPPED = text("""
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = :high AND objid = :low AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND state = 'active' AND wait_event = 'ClientRead'
    AND query_start < clock_timestamp() - make_interval(secs => :seconds)
""")
_TOO_LARGE = "54"
"""Class of errors: more than an index or a row can hold."""


def driver_is_lost(db: Connection) -> bool:
    """Say whether the connection under one of SQLAlchemy's has ended."""
    return db.invalidated or db.closed or driver(db).closed


def is_lost(error: DBAPIError | psycopg.Error) -> bool:
    """Say whether an error is about the connection or the server, and not about what was asked."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
