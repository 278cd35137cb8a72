"""Marks in a process: at the n-th passing of one it kills itself, or stops where it is.

A mark lies where what was before has happened, and what comes after has not. None counts before the
file `armed` is there. Only here is the house changed, and only by what stands around it, or by the
target that compares no fences, where the environment names the record of its effects.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, RootTransaction

from shipslog.adapters.platforms.processes.platform import ProcessesPlatform
from shipslog.adapters.store.postgres.writer import Writer
from shipslog.adapters.store.rows import Prepared
from shipslog.api.assembly import houses
from shipslog.api.worker.guard import GuardedPlatform
from shipslog.projections.follower.folding import Folding
from shipslog.projections.follower.postgres import batching, connecting, views
from shipslog.projections.follower.postgres.views import PostgresViews
from shipslog.projections.follower.views import Applied

WRITTEN, MOVED, COMMITTED = "rows written", "position moved", "batch committed"
SENDING, DONE, APPENDING = "about to send", "done and not told", "about to append"
ASSURING = "about to make sure of its lease"
STATEMENT = "about to say a statement"
FINISHED = "deployment.stage_finished"
RECORD = "UNFENCED_RECORD"
NOWHERE = {"at": "", "do": "", "armed": ""}
"""A mark that is never passed: the process is what its environment says, and nothing else."""


def put(*, at: str, do: str, armed: str, number: int = 1, brief: bool = False) -> None:
    """Put a mark into this process: `do` is `kill` or `stop`; `number`: at which passing.

    `brief`: the database is told to lose its patience with this process soon.
    """
    left = number
    if brief and do == "stop":
        setattr(views, "IDLE_SECONDS", 2)  # noqa: B010 - a constant of theirs
        setattr(batching, "BATCH_SECONDS", 2)  # noqa: B010 - the same
        vars(connecting)["_SETTINGS"]["idle_in_transaction_session_timeout"] = "1s"

    def passed(name: str) -> None:
        nonlocal left
        if name == at and Path(armed).exists():
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL if do == "kill" else signal.SIGSTOP)

    event.listen(Engine, "before_cursor_execute", lambda *_: passed(STATEMENT))
    _around_batches(passed)
    record = os.environ.get(RECORD)
    _around_commands(passed, _unfenced(Path(record)) if record else ProcessesPlatform)


def _around_batches(passed: Callable[[str], None]) -> None:
    move, commit, at_once = PostgresViews.move, RootTransaction.commit, PostgresViews.at_once
    fold = Folding.all_at_once
    moved: list[bool] = []
    small: list[PostgresViews] = []
    """Whose batch is under way in one piece: it begins with the move."""

    def marked_move(rows: PostgresViews, *arguments: Any) -> str | None:
        passed(WRITTEN)
        mark = move(rows, *arguments)
        moved.append(mark is not None)
        passed(MOVED)
        return mark

    def marked_fold(folding: Folding, *arguments: Any) -> None:
        fold(folding, *arguments)
        if small:
            moved.append(True)
            passed(WRITTEN)

    def marked_commit(transaction: RootTransaction) -> None:
        if small:
            passed(MOVED)
        commit(transaction)
        if moved:
            moved.clear()
            passed(COMMITTED)

    def marked_at_once(rows: PostgresViews, *arguments: Any) -> Applied | None:
        small.append(rows)
        try:
            return at_once(rows, *arguments)
        finally:
            small.remove(rows)

    PostgresViews.move = marked_move  # type: ignore[method-assign, assignment]
    PostgresViews.at_once = marked_at_once  # type: ignore[method-assign, assignment]
    Folding.all_at_once = marked_fold  # type: ignore[method-assign, assignment]
    RootTransaction.commit = marked_commit  # type: ignore[method-assign, assignment]


def _unfenced(record: Path) -> Any:  # noqa: ANN401 - of a class that only the tests have
    """Let what is built from now on use a target that compares no fences; return its class."""
    sys.path.append(str(Path(__file__).parents[3]))
    unfenced: Any = import_module("tests.adapters.platforms.unfenced.target").UnfencedTarget

    def built(*arguments: Any) -> object:
        return unfenced(ProcessesPlatform(*arguments), record)

    setattr(houses, "ProcessesPlatform", built)  # noqa: B010 - a name of theirs
    return unfenced


def _around_commands(passed: Callable[[str], None], platform: Any) -> None:  # noqa: ANN401
    assure: Callable[..., Awaitable[Any]] = GuardedPlatform.run
    run: Callable[..., Awaitable[Any]] = platform.run
    append: Callable[..., Awaitable[Any]] = Writer.append

    async def marked_assure(guard: GuardedPlatform, *arguments: Any) -> object:
        passed(ASSURING)
        return await assure(guard, *arguments)

    async def marked_run(sent_to: Any, *arguments: Any) -> object:  # noqa: ANN401
        passed(SENDING)
        ended = await run(sent_to, *arguments)
        passed(DONE)
        return ended

    async def marked_append(writer: Writer, prepared: Prepared) -> object:
        if any(draft.event.TOPIC == FINISHED for draft in prepared.append.drafts):
            passed(APPENDING)
        return await append(writer, prepared)

    GuardedPlatform.run = marked_assure  # type: ignore[method-assign, assignment]
    platform.run = marked_run
    Writer.append = marked_append  # type: ignore[method-assign, assignment]
