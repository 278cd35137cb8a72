"""Where a deployment and its stages stand, and why a deployment is undone."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a deployment stands."""

    REQUESTED = "requested"
    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    NEEDS_OPERATOR = "needs_operator"
    REJECTED = "rejected"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    ROLLBACK_FAILED = "rollback_failed"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows but annotations."""
        return self in FINAL


FINAL = frozenset(
    {
        Status.REJECTED,
        Status.SUCCEEDED,
        Status.ROLLED_BACK,
        Status.FAILED,
        Status.ROLLBACK_FAILED,
        Status.ABORTED,
        Status.CANCELLED,
        Status.SUPERSEDED,
    }
)


class StageStatus(StrEnum):
    """Where a stage stands. Failed is decided, errored could not be decided."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ERRORED = "errored"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """Why a deployment is undone."""

    STAGE_FAILED = "stage_failed"
    ABORT = "abort"
    ROLLBACK = "rollback"
