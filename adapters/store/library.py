"""What the eventsourcing library reads our log with: its mapper, and its recorder on any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    ApplicationRecorder,
    Mapper,
    Notification,
    NotSupportedError,
    StoredEvent,
)
from eventsourcing.utils import get_topic

from ...domain.event import Recorded, decode, encode_header

_NO_END = 2**63 - 1


class LedgerMapper(Mapper[str]):
    """Turns stored events into `Recorded` and back; named by `MAPPER_TOPIC`."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """Return the row of an event, its bytes as they stand in the log."""
        recorded = cast(Recorded, domain_event)
        header = recorded.header
        state = encode_header(header) + b"\n" + recorded.payload
        return StoredEvent(header.stream, header.stream_version, header.topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[Any]:
        """Return the event of a row; its position is 0 unless the row is a notification."""
        position = stored_event.id if isinstance(stored_event, Notification) else 0
        return decode(position, stored_event.state)


class ReadingRecorder(ApplicationRecorder):
    """What a recorder over our table is on either engine: it stands before the library's own."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Refuse: the log is written through `Log.append` alone."""
        del stored_events, kwargs
        message = "the log is written through Log.append"
        raise NotSupportedError(message)


def environment(recorder: type[ReadingRecorder]) -> dict[str, str]:
    """Return of the environment of a plain `Application` what is the same on either engine."""
    return {
        "CREATE_TABLE": "no",
        "ORIGINATOR_ID_TYPE": "text",
        "MAPPER_TOPIC": get_topic(LedgerMapper),
        "APPLICATION_RECORDER_TOPIC": get_topic(recorder),
    }


def positions(start: int | None, stop: int | None, *, inclusive_of_start: bool) -> tuple[int, int]:
    """Return the first and the last position that `select_notifications` asks for."""
    first = 0 if start is None else start if inclusive_of_start else start + 1
    return first, _NO_END if stop is None else stop
