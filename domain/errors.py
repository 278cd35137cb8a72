"""Every refusal and failure, one tree; the docstring is the sentence a person reads.

LedgerError
├── RefusedError                 the caller asked for what cannot be; nothing was written
│   ├── InvalidError             422  a value is wrong; `pointer` says where
│   │   ├── InvalidCommandError
│   │   ├── DigestRequiredError
│   │   ├── NotAvailableError    a feature that is not built
│   │   ├── UnknownReferenceError
│   │   ├── CyclicPlanError
│   │   ├── InvalidCursorError   400  no list gave it out
│   │   └── IdempotencyMismatchError
│   ├── NotFoundError            404
│   ├── DeniedError              403
│   ├── UnauthenticatedError     401
│   ├── StateConflictError       409  the state forbids it; `legal_actions` says what it allows
│   │   └── TargetBusyError
│   ├── AddressTakenError        409  at a target: somebody else listens there
│   ├── PreconditionFailedError  412
│   ├── PreconditionRequiredError 428
│   └── LimitReachedError        429
├── RetryableError               the same call may work later
│   ├── ConflictError            a stream has moved on since it was read
│   ├── OutcomeUnknownError      503  an error at commit
│   ├── PlatformUnavailableError
│   ├── NotYetVisibleError       504
│   ├── BusyError                503  nothing was stored
│   └── OverloadedError          503
├── FencedError                  somebody else has taken over
│   ├── FenceLostError           at the log
│   └── FenceRefusedError        at a target
└── BrokenError                  what is stored or configured cannot be used
    ├── EndingError              503  this process is about to end; another will answer
    ├── UnsealedError
    ├── EventTooLargeError
    ├── UnknownTopicError
    ├── StoreLockedError
    ├── CorruptLogError
    └── SecretMissingError

Context is given by keyword and shown by `{name}` in the docstring's first line; all of it goes
into the problem document.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LedgerError(Exception):
    """Something went wrong."""

    slug: ClassVar[str] = "error"
    """The last part of the problem's type, `urn:shipslog:problem:<slug>`."""

    def __init__(self, message: str | None = None, **context: Any) -> None:
        self.context = context
        sentence = message or (type(self).__doc__ or "").partition("\n")[0].format_map(
            _Blank(context)
        )
        super().__init__(sentence)


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


class RefusedError(LedgerError):
    """The request was refused."""

    slug = "refused"


class InvalidError(RefusedError):
    """A value is not valid."""

    slug = "invalid"

    def __init__(self, message: str | None = None, *, pointer: str = "", **context: Any) -> None:
        super().__init__(message, pointer=pointer, **context)
        self.pointer = pointer
        """RFC 6901 JSON pointer to the value, empty for the whole document."""


class InvalidCommandError(InvalidError):
    """A stage's command is not valid."""

    slug = "invalid-command"


class DigestRequiredError(InvalidError):
    """An artifact is named by its digest, `name@sha256:<64 hex digits>`, never by a tag."""

    slug = "digest-required"


class NotAvailableError(InvalidError):
    """This build does not have {feature} yet."""

    slug = "not-available"


class UnknownReferenceError(InvalidError):
    """There is no {kind} named {name}."""

    slug = "unknown-reference"


class CyclicPlanError(InvalidError):
    """Stages wait for each other in a circle: {cycle}."""

    slug = "invalid"


class InvalidCursorError(InvalidError):
    """This cursor was not given out by the list it is used on."""

    slug = "malformed-cursor"


class IdempotencyMismatchError(InvalidError):
    """This idempotency key was used before with another body."""

    slug = "idempotency-mismatch"


class NotFoundError(RefusedError):
    """There is no such {kind}."""

    slug = "not-found"


class DeniedError(RefusedError):
    """This needs the permission {permission}."""

    slug = "forbidden"


class UnauthenticatedError(RefusedError):
    """A valid bearer token is needed."""

    slug = "unauthenticated"


class StateConflictError(RefusedError):
    """A deployment that is {status} cannot {action}."""

    slug = "state-conflict"


class TargetBusyError(StateConflictError):
    """{target} is held by deployment {holder}."""

    slug = "target-busy"


class AddressTakenError(RefusedError):
    """{address} cannot be listened on: {detail}."""

    slug = "address-taken"


class PreconditionFailedError(RefusedError):
    """It has changed since it was read: it is at {etag} now."""

    slug = "precondition-failed"


class PreconditionRequiredError(RefusedError):
    """Changing what exists needs If-Match with its ETag."""

    slug = "precondition-required"


class LimitReachedError(RefusedError):
    """{environment} takes no more deployments now: its limit is {limit} {unit}."""

    slug = "limit-reached"


class RetryableError(LedgerError):
    """The same call may work later."""

    slug = "unavailable"


class ConflictError(RetryableError):
    """{stream} has moved on since it was read."""

    slug = "conflict"


class OutcomeUnknownError(RetryableError):
    """The store failed while it committed; ask again with the same Idempotency-Key."""

    slug = "outcome-unknown"


class PlatformUnavailableError(RetryableError):
    """The platform cannot be reached: {detail}."""

    slug = "platform-unavailable"


class NotYetVisibleError(RetryableError):
    """The read model has not reached position {position} yet."""

    slug = "not-yet-visible"


class OverloadedError(RetryableError):
    """Too many requests are waiting."""

    slug = "overloaded"


class BusyError(RetryableError):
    """Others hold what this needs; nothing was stored."""

    slug = "busy"


class FencedError(LedgerError):
    """Somebody else has taken over."""

    slug = "fenced"


class FenceLostError(FencedError):
    """The lease on {stream} is lost: token {token} is not the newest."""


class FenceRefusedError(FencedError):
    """{target} has seen fence {highest} and refuses {fence}."""


class BrokenError(LedgerError):
    """What is stored or configured cannot be used."""

    slug = "broken"


class EndingError(BrokenError):
    """This process can do no more; the next one will."""

    slug = "unavailable"


class UnsealedError(BrokenError):
    """The personal field {field} would have been stored in the clear."""


class EventTooLargeError(BrokenError):
    """The {part} of an event has {size} bytes, more than {limit}."""


class UnknownTopicError(BrokenError):
    """This build does not know {topic} in version {version}."""


class StoreLockedError(BrokenError):
    """Another process has the store {path} open."""


class CorruptLogError(BrokenError):
    """The log does not hold together at position {position}: {detail}."""


class SecretMissingError(BrokenError):
    """There is no secret {reference}."""
