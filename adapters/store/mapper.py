"""LedgerMapper: the eventsourcing library's mapper over our two-line state."""

from __future__ import annotations

from typing import Any, cast

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Notification, StoredEvent

from ...domain.event import Recorded, decode, encode_header


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
