"""What goes wrong at a store, beyond the refusals that every log knows."""

from __future__ import annotations

from ...domain.errors import BrokenError, ConflictError, EndingError, RetryableError


class NoLedgerError(BrokenError):
    """There is no ledger in {data}."""


class NotDurableError(BrokenError):
    """The ledger would not outlast a power cut: journal_mode {mode}, synchronous {synchronous}."""


class NewerLedgerError(BrokenError):
    """A newer build wrote the ledger: it has version {version}, this build knows {known}."""


class UnusableLedgerError(BrokenError):
    """The ledger {path} cannot be used: {detail}."""


class ReadOnlyLedgerError(BrokenError):
    """The ledger is open for reading only."""


class ClosedLedgerError(EndingError):
    """The ledger is closed."""


class WritingFailedError(EndingError):
    """The ledger has to be opened again, because writing failed: {detail}."""


class DamagedTextError(BrokenError):
    """A personal text does not open with its own key {key}."""


class CommandSettledError(ConflictError):
    """The command {command} was settled meanwhile."""


class StoreUnreachableError(RetryableError):
    """The database cannot be reached: {detail}."""

    def __init__(self, message: str | None = None, *, detail: str = "") -> None:
        # The driver's words fill several lines, the first of which says it.
        super().__init__(message, detail=detail.partition("\n")[0].strip())


class ServerError(BrokenError):
    """The database server could not be {action}: {detail}."""


class ForgetfulServerError(BrokenError):
    """The ledger would not outlast a power cut: the database has {settings} off."""


class StandbyError(RetryableError):
    """The database is a standby, which takes no appends."""


class OldPrimaryError(RetryableError):
    """The database is an old primary: it is on timeline {timeline}, and {known} has been seen."""


class LogRolledBackError(EndingError):
    """The log has lost events that were seen, within {first} to {last}, and ends at {head}.

    Nothing goes on with it until an operator has accepted that: `shipslog db accept`.
    """

    slug = "log-rolled-back"
