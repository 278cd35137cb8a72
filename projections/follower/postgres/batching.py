"""Small batches: what the database is asked and told of them goes to it together.

Whoever changes any row of the views changes the row of progress in the same transaction, so the
number of the transaction that did it last is a mark: a connection that finds its own there knows
that nobody else has changed anything, not the shape of the rows either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Text, bindparam, func, literal_column
from sqlalchemy.sql.dml import ReturningUpdate

from ....domain.event import Recorded
from ..rows import Row, Statement, ask
from ..views import AT, MOVE, Look, Moved
from .connecting import begun
from .listening import announcement
from .rows import COPIED, driver, send

BATCH_SECONDS = 10
"""How long a small batch, or the sending of a large one, may take; then its process is stopped."""
TIMED_TRANSACTIONS = 170000
"""The first version of the server that ends a transaction for the time it takes."""

_MARK = literal_column("progress.xmin::text", Text)
_LOOK: Statement = AT.add_columns(_MARK)
_MOVE: ReturningUpdate[str, Any] = MOVE.returning(
    _MARK,
    func.pg_notify(bindparam("channel", type_=Text), bindparam("payload", type_=Text)),
)
_MOVE_MINE: Statement = _MOVE.where(bindparam("mark", type_=Text) == _MARK)


def is_small(db: Connection, events: int) -> bool:
    """Say whether a batch of so many events goes through the driver's pipeline."""
    # Many rows are copied, which cannot be put off.
    return events < COPIED and driver(db).info.server_version >= TIMED_TRANSACTIONS


def limit(db: Connection) -> None:
    """Let a small batch take so long at most."""
    # Who is stopped amid a pipeline is at work to the server, and not idle.
    driver(db).execute(f"SET LOCAL transaction_timeout = '{BATCH_SECONDS}s'".encode())


def warm(db: Connection) -> None:
    """Use each statement once, and change nothing."""
    look(db)
    for statement in (_MOVE, _MOVE_MINE):
        send(db, statement, _values("", Moved(-1, -1, None), "") | {"mark": ""})


def look(db: Connection) -> Look:
    """Implement `Views.look`."""
    return Look(*ask(db, _LOOK, {})[0])


def move(db: Connection, channel: str, moved: Moved, newest: str) -> str | None:
    """Implement `Views.move`, in one round trip."""
    stored = ask(db, _MOVE, _values(channel, moved, newest))
    return str(stored[0][0]) if stored else None


def fold_at_once(
    db: Connection, fold: Callable[[], None], events: Sequence[Recorded], channel: str, mark: str
) -> str | None:
    """Fold events that follow on what this connection stored last, and return the new mark.

    Nothing is asked before all has been sent, but what the read models do not remember. None:
    somebody else has changed the views meanwhile, and nothing is stored.
    """
    newest = events[-1]
    moved = Moved(events[0].position - 1, newest.position, {e.header.stream for e in events})
    values = _values(channel, moved, newest.header.payload_sha256)
    connection = driver(db)
    # The commit comes behind the pipeline: what the driver says at the end of one lets the server
    # forget how long the session may be idle, and a leader stopped then would lead for ever.
    with suppress(_OvertakenError), begun(db):
        with connection.pipeline():
            connection.execute(b"BEGIN")
            limit(db)
            # First of all: who moves or swaps the views waits, or has done so before.
            stored = send(db, _MOVE_MINE, values | {"mark": mark})
            fold()
        found: Row | None = stored.fetchone()
        if found is None:
            raise _OvertakenError
        return str(found[0])
    return None


class _OvertakenError(Exception):
    """Somebody else has changed the views."""


def _values(channel: str, moved: Moved, newest: str) -> dict[str, Any]:
    name, payload = announcement(channel, moved)
    values: dict[str, Any] = {"at": moved.after, "to": moved.position, "digest": newest}
    return values | {"channel": name, "payload": payload}
