"""Asking the server from a verb, and the exit code that an answer or a refusal stands for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from ..terminal.output import say
from ..wire.shapes import ProblemError, Status

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from ..client import Client

T = TypeVar("T")

SAID_AT = 4
"""Which retry of one question is the first that a person hears of: about a second has gone."""
HELD = frozenset({"awaiting_approval", "paused", "needs_operator"})
HOLDS = frozenset({"approval", "window", "freeze", "pause", "operator"})
"""Kinds of waiting that end by a person or a calendar, and not by work."""


class ExitCode(IntEnum):
    """How a verb ends."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    WAITING = 3
    ROLLED_BACK = 4
    CONFLICT = 5
    DENIED = 6
    TIMEOUT = 124
    INTERRUPTED = 130


OUTCOMES = {
    "succeeded": ExitCode.DONE,
    "rolled_back": ExitCode.ROLLED_BACK,
    "failed": ExitCode.FAILED,
    "rollback_failed": ExitCode.FAILED,
    "aborted": ExitCode.FAILED,
    "cancelled": ExitCode.FAILED,
    "superseded": ExitCode.FAILED,
    "rejected": ExitCode.FAILED,
}
"""Every final state; the domain's own list is too heavy for a start in 250 ms."""

_OF_HTTP = {
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    408: ExitCode.FAILED,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    428: ExitCode.CONFLICT,
    429: ExitCode.FAILED,
}


def ask(question: Callable[[Client], Awaitable[T]]) -> T:
    """Ask the server of the user's configuration, and return what came of it."""
    import asyncio

    from stamina.instrumentation import set_on_retry_hooks

    from ..client import Client
    from ..user_config import server

    set_on_retry_hooks([_tell])

    async def asked() -> T:
        async with Client(server()) as client:
            return await question(client)

    return asyncio.run(asked())


def _tell(details: RetryDetails) -> None:
    if details.retry_num == SAID_AT:
        say(f"{details.caused_by}; trying again")


def is_final(status: Status) -> bool:
    """Say whether a deployment has ended."""
    return status["status"] in OUTCOMES


def is_held(status: Status) -> bool:
    """Say whether a deployment goes on only when a person or a calendar lets it."""
    return status["status"] in HELD or any(w["kind"] in HOLDS for w in status["waiting_on"])


def code_of(status: Status) -> ExitCode:
    """Return the exit code that a deployment's state stands for."""
    return OUTCOMES.get(status["status"], ExitCode.WAITING)


def code_of_http(status: int) -> ExitCode:
    """Return the exit code of a refusal."""
    if status in _OF_HTTP:
        return _OF_HTTP[status]
    return ExitCode.REFUSED if 400 <= status < 500 else ExitCode.FAILED  # noqa: PLR2004 - the caller's fault


def sentence(error: ProblemError) -> str:
    """Return a refusal in one line: what, where in the input, and what would be possible."""
    problem = error.problem
    text = str(error)
    places = [e.get("pointer") or e.get("parameter") for e in problem.get("errors", [])]
    if named := ", ".join(place for place in places if place):
        text += f" (at {named})"
    if actions := problem.get("legal_actions"):
        text += f" Possible now: {', '.join(actions)}."
    if error.status == 401:  # noqa: PLR2004
        text += " Set SHIPSLOG_TOKEN to one."
    return text
