"""Views: the rows of every read model and the position that they stand at, whatever the engine.

Rows and position are stored in one transaction for each batch. All of it is derived: what is
missing, broken or of another shape is made anew from the log.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple, TypeVar

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    bindparam,
    delete,
    exists,
    inspect,
    select,
    update,
)

from ...domain.errors import BrokenError, CorruptLogError, RetryableError
from ...domain.event import Recorded
from .folding import Folding, Parked, parked
from .read_model import PARKED, Memory, ReadModel
from .rows import TEXT, WHOLE, ask, put

PROGRESS = Table(
    "progress",
    MetaData(),
    Column("id", WHOLE, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("position", WHOLE, nullable=False),
    Column("newest", TEXT, nullable=False),
    Column("signature", TEXT, nullable=False),
    postgresql_with={"fillfactor": 50},
)
"""One row: how far the log is folded, the payload's hash of the newest event, of what shape."""

REMEMBERED = 4 * 1024 * 1024
"""Characters of rows that are remembered."""

Result = TypeVar("Result")


class OutdatedViewsError(BrokenError):
    """The read models have another shape than this build's: {remedy}."""

    def __init__(self, remedy: str = "run `shipslog db upgrade`") -> None:
        super().__init__(remedy=remedy)


class UnreachableViewsError(RetryableError):
    """The database of the read models cannot be reached: {detail}."""


class UnusableViewsError(BrokenError):
    """The read models in the database cannot be used: {detail}."""


class Standing(NamedTuple):
    """The position reached, and the payload's hash of the event there, as a header has it."""

    position: int
    newest: str


class Applied(NamedTuple):
    """The position reached, and the streams that a read model could not fold on."""

    position: int
    parked: tuple[Parked, ...]


class Look(NamedTuple):
    """How far views are, of what shape, and whether a stream is parked in them."""

    position: int
    signature: str
    has_parked: bool
    mark: str = ""
    """Another one wherever somebody else has changed anything, on an engine with others."""


class Moved(NamedTuple):
    """Views that somebody else has brought from one position to another."""

    after: int
    position: int
    streams: AbstractSet[str] | None
    """Whose streams' rows are new; None: all."""


class Views(ABC):
    """The rows of read models, in a file or in a database."""

    is_shared: ClassVar[bool] = False
    """Whether other processes may move them too."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.models = tuple(models)
        self.folding = Folding(self.is_poison)
        self.signature = signature(self.models)
        self.memory = Memory(REMEMBERED)

    @abstractmethod
    def open(self) -> int:
        """Get ready to write and return the position reached, 0 for none."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything that `open`, `writing` and `reading` took."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection that cannot write and sees one position of all read models."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """Give the one connection that writes, in a transaction."""

    def batching(self, events: int) -> AbstractContextManager[Connection]:  # noqa: ARG002 - a server of its own needs it
        """Give the same for a batch of so many events, and save round trips where there are any.

        What it stores may be refused only later, by whatever asks for something.
        """
        return self.writing()

    @abstractmethod
    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return what a query finds; it sees one position of all read models."""

    async def look_up(self, query: Callable[[Connection], Result]) -> Result:
        """Return what a query of one statement by `ask` finds, which sees one position anyway."""
        return await self.read(query)

    @abstractmethod
    def is_poison(self, error: Exception) -> bool:
        """Say whether an error while folding is to be blamed on the event."""

    @abstractmethod
    def clear(self) -> None:
        """Begin anew, in one step for every reader."""

    @abstractmethod
    def beside(self) -> Views:
        """Return views to `begin` beside these, to fill and to `become`."""

    @abstractmethod
    def begin(self) -> bool:
        """Make these views, as `beside` returned them; False: another process has some beside."""

    @abstractmethod
    def become(self, other: Views) -> bool:
        """Take over everything of views made by `beside`, in one step for every reader.

        They must be held. False: those who read now do so for long; nothing has changed.
        """

    @abstractmethod
    def discard(self) -> None:
        """Close and remove these views, as `beside` returned them."""

    def complete(self) -> None:  # noqa: B027 - a server of its own puts nothing off
        """Make what was put off while the log was folded from its beginning."""

    def hold(self) -> None:  # noqa: B027 - nothing to do for a file of one process
        """Let no other process move these views until `let_go`."""

    def let_go(self, *, keep: bool) -> None:  # noqa: B027 - nothing to do for a file of one process
        """End a `hold`; keep what was written meanwhile, or not."""

    def lead(self) -> bool:
        """Say whether it is this process that moves these views; where nobody does, it will."""
        return True

    def place(self) -> tuple[int, int]:
        """Return the position, and a number that changes where all rows were exchanged."""
        return self.standing().position, 0

    async def moved(self, timeout: float) -> Moved | None:
        """Return what another process has done, a hint; None: nothing that was heard in time."""
        await asyncio.sleep(timeout)
        return None

    async def aclose(self) -> None:  # noqa: B027 - nothing to do for a file of one process
        """Let go of everything that `read` and `moved` took."""

    def apply(self, events: Sequence[Recorded]) -> Applied:
        """Fold the events that are new into every read model and store the position reached.

        Events seen before change nothing. An event that a read model cannot fold parks its stream
        there, and all others go on. Errors: CorruptLogError where a position is missing,
        OutdatedViewsError where another build has changed the views.
        """
        try:
            return self.at_once(events) or self._apply(events, is_careful=False)
        except BaseException as error:
            # What was folded is taken back, or may be.
            self.memory.forget()
            if not isinstance(error, Exception) or not self.is_poison(error):
                raise
        return self._apply(events, is_careful=True)

    def take(self, events: Sequence[Recorded]) -> None:
        """Fold part of the log, whatever its positions; for views that are kept for a moment."""
        try:
            with self.writing() as db:
                self.folding.all_at_once(db, self.models, events, ())
        except Exception as error:
            if not self.is_poison(error):
                raise
            with self.writing() as db:
                self.folding.one_by_one(db, self.models, events, parked(db))

    def exchange(
        self, rows: Mapping[Table, ColumnElement[bool]], streams: AbstractSet[str], part: Views
    ) -> None:
        """Replace rows of a read model, and what is parked of these streams, by those of `part`."""
        (model,) = part.models
        with self.writing() as db, part.writing() as new:
            for table, which in rows.items():
                db.execute(delete(table).where(which))
                put(db, table, [tuple(row) for row in new.execute(select(table).where(which))])
            db.execute(
                delete(PARKED).where(PARKED.c.model == model.name, PARKED.c.stream.in_(streams))
            )
            parked = new.execute(select(PARKED)).all()
            put(db, PARKED, [tuple(row) for row in parked if row.stream in streams])
            self.announce(db, Moved(0, standing(db).position, None))
            db.execute(_TOUCH)
        self.memory.forget()

    def standing(self) -> Standing:
        """Return how far the log is folded."""
        with self.writing() as db:
            return standing(db)

    def fits(self, db: Connection) -> bool:
        """Say whether what a connection sees has the shape of these read models."""
        if not inspect(db).has_table(PROGRESS.name):
            return False
        return db.scalar(select(PROGRESS.c.signature)) == self.signature

    def parked(self) -> list[Parked]:
        """Return every stream that a read model cannot fold on."""
        with self.writing() as db:
            return parked(db)

    def warm(self, db: Connection) -> None:
        """Let every statement be spelled and planned before the first event waits for it."""
        for model in self.models:
            model.warm(db)

    def announce(self, db: Connection, moved: Moved) -> None:  # noqa: B027 - nothing to do for a file of one process
        """Tell other processes, with the transaction's commit."""

    def at_once(self, events: Sequence[Recorded]) -> Applied | None:  # noqa: ARG002 - a server of its own needs it
        """Apply events where all is as these views have left it, and save the looks at it.

        None: nothing is done, for it is not so, or nothing would be saved.
        """
        return None

    def look(self, db: Connection) -> Look:
        """Return how far the views are, and keep who would move or swap them from doing so."""
        ((position, signature, has_parked),) = ask(db, AT, {})
        return Look(position, signature, has_parked)

    def move(self, db: Connection, moved: Moved, newest: str) -> str | None:
        """Store a position and announce it; return its mark, None where somebody else was there."""
        values = {"at": moved.after, "to": moved.position, "digest": newest}
        return "" if ask(db, _MOVE, values) else None

    def _apply(self, events: Sequence[Recorded], *, is_careful: bool) -> Applied:
        with self.writing() if is_careful else self.batching(len(events)) as db:
            look = self.look(db)
            if look.signature != self.signature:
                raise OutdatedViewsError
            at = look.position
            fresh = events if events and events[0].position == at + 1 else _after(events, at)
            if not fresh:
                return Applied(at, ())
            if fresh[0].position != at + 1:
                raise CorruptLogError(position=at + 1, detail="it is not in the log")
            if (at, look.mark) != self.memory.place:
                self.memory.forget()
            old = parked(db) if look.has_parked else []
            stopped: tuple[Parked, ...] = ()
            if is_careful:
                stopped = self.folding.one_by_one(db, self.models, fresh, old)
            else:
                with self.memory.lent(db):
                    self.folding.all_at_once(db, self.models, fresh, old)
            newest = fresh[-1]
            moved = Moved(at, newest.position, {e.header.stream for e in fresh})
            mark = self.move(db, moved, newest.header.payload_sha256)
            if mark is None:
                raise CorruptLogError(position=at, detail="somebody else moves the views")
        if not is_careful:
            self.memory.place, self.memory.is_calm = (newest.position, mark), not old
        return Applied(newest.position, stopped)


def signature(models: Iterable[ReadModel]) -> str:
    """Return a digest of what the rows of read models look like and mean."""
    signatures = "\n".join(model.signature() for model in models)
    return hashlib.sha256(signatures.encode()).hexdigest()


def standing(db: Connection) -> Standing:
    """Return how far the log is folded in the views that a connection sees."""
    row = db.execute(_STANDING).one()
    return Standing(row.position, row.newest)


_STANDING = select(PROGRESS.c.position, PROGRESS.c.newest)
# Locked before anything is read: who swaps the views waits, or has done so before.
AT = select(
    PROGRESS.c.position, PROGRESS.c.signature, exists(select(PARKED.c.model).limit(1))
).with_for_update(of=PROGRESS)
MOVE = (
    update(PROGRESS)
    .where(PROGRESS.c.position == bindparam("at"))
    .values(position=bindparam("to"), newest=bindparam("digest"))
)
_MOVE = MOVE.returning(PROGRESS.c.position)
_TOUCH = update(PROGRESS).values(position=PROGRESS.c.position)


def _after(events: Sequence[Recorded], position: int) -> Sequence[Recorded]:
    return [event for event in events if event.position > position]
