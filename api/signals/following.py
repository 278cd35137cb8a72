"""FollowerLog: what the follower meets, as log lines."""

from __future__ import annotations

from ...projections.follower import Observer, Parked
from . import logs

_log = logs.get("follower")


class FollowerLog(Observer):
    """Says when a read model stops at a stream, and when a batch fails or does not end."""

    def began_anew(self, seen: int, head: int) -> None:
        """Say that the log was cut, or put back from a copy."""
        _log.error("log_rolled_back", seen=seen, head=head)

    def late(self, first: int, last: int) -> None:
        """Say at which events the read models stand still; deployments go on without them."""
        _log.error("read_models_late", first=first, last=last)

    def stopped(self, parked: Parked) -> None:
        """Say which stream of which read model is stale from now on."""
        _log.error("read_model_stopped", parked=str(parked))

    def failed(self, error: Exception) -> None:
        """Say why a batch is tried again."""
        _log.error("follower_failed", exc_info=error)
