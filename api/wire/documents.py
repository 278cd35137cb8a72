"""Documents: the types of every answer, from which OpenAPI's schemas are made."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from ...domain.access import Role
from ...domain.plan import Plan
from ...projections import deployments, history

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item]):
    """Part of a list; `next` leads to the part after it."""

    items: list[Item]
    next: str | None


class StatusDocument(deployments.StatusDocument, frozen=True, kw_only=True):
    """A deployment as it stands, shown: names by name, texts opened, null once erased."""

    reason: str | None


class PreviewDocument(msgspec.Struct):
    """What a request would do, and what would hold it; nothing was written."""

    plan: Plan
    plan_hash: str
    waiting_on: list[deployments.Waiting]


class HistoryDocument(history.Entry, frozen=True, kw_only=True):
    """One line of a target's bounded history, shown."""

    reason: str | None


class ActorDocument(msgspec.Struct):
    """Who did it; `name` is null once erased."""

    kind: str | None
    id: str
    name: str | None


class EventDocument(msgspec.Struct):
    """One event of the log; `causation` is the position of the event that caused it."""

    position: int
    stream: str
    stream_version: int
    topic: str
    event_version: int
    occurred_at: datetime
    recorded_at: datetime
    actor: ActorDocument
    environment: str | None
    service: str | None
    deployment: str | None
    causation: int | None
    correlation: str | None
    fence: str | None
    payload: dict[str, Any]


class TokenDocument(msgspec.Struct):
    """A token as it is listed: never with its secret."""

    id: str
    subject: str | None
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewTokenDocument(msgspec.Struct):
    """A token as it is given out, this once with its secret."""

    id: str
    subject: str
    role: Role
    token: str
    expires_at: datetime | None


class HealthDocument(msgspec.Struct):
    """Whether this server lives, or is ready."""

    status: str
    checks: dict[str, str] = {}


class FaultDocument(msgspec.Struct, omit_defaults=True):
    """One wrong value, by its place in the body, the query or the headers."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """Why a request was refused or failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FaultDocument] = []
    legal_actions: list[str] = []
