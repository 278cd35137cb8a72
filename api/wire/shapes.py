"""Shapes of what a server answers: documents, as its client reads them, and refusals.

A server may send more fields than are named here.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

TRANSIENT = frozenset({502, 503, 504})

Document = dict[str, Any]


class StageDocument(TypedDict):
    """A stage within a status document."""

    name: str
    status: str
    attempt: int
    started_at: str | None
    ended_at: str | None
    message: str | None


class Waiting(TypedDict):
    """Something a deployment waits for."""

    kind: str
    detail: str | None
    since: str | None
    until: str | None


class Status(TypedDict):
    """The status document of a deployment."""

    id: str
    pipeline: str
    pipeline_version: int
    service: str
    version: str
    environment: str
    status: str
    plan_hash: str
    current_stage: int
    total_stages: int
    stages: list[StageDocument]
    waiting_on: list[Waiting]
    requested_by: str | None
    reason: str | None
    requested_at: str
    started_at: str | None
    completed_at: str | None
    rollback_of: str | None
    rolled_back_by: str | None
    retry_of: str | None
    outcome_kind: str | None
    live: dict[str, str] | None
    requested_position: NotRequired[int]
    position: int


class EventDocument(TypedDict):
    """One event of the log."""

    position: int
    stream: str
    topic: str
    occurred_at: str
    recorded_at: str
    actor: dict[str, str | None]
    environment: str | None
    service: str | None
    deployment: str | None
    payload: Document


class Page(TypedDict):
    """One page of a list."""

    items: list[Document]
    next: str | None


class Problem(TypedDict):
    """An RFC 9457 problem document."""

    type: str
    title: NotRequired[str]
    status: NotRequired[int]
    detail: NotRequired[str]
    errors: NotRequired[list[dict[str, str]]]
    legal_actions: NotRequired[list[str]]


class ProblemError(Exception):
    """The server refused, and its problem document says why."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        self.status = status
        self.problem = problem

    @property
    def slug(self) -> str:
        """The last part of the problem's type."""
        return self.problem.get("type", "").rpartition(":")[2]


class UnreachableError(Exception):
    """No server answers."""

    def __init__(self, url: str, why: object) -> None:
        super().__init__(f"No server answers at {url}: {why}")


class CutOffError(UnreachableError):
    """The connection ended before the answer: the request may have been carried out or not."""


def is_transient(error: Exception) -> bool:
    """Say whether the same question may be answered later."""
    if isinstance(error, ProblemError):
        return error.status in TRANSIENT
    return isinstance(error, UnreachableError)
