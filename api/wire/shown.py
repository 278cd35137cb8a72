"""What is shown of what is stored: persons by name, personal texts opened, erased ones as null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from ...domain.event import Personal, Recorded, Sealed
from ...projections import definitions, deployments, history, targets
from ..services import Directory, Opener, Person
from .documents import ActorDocument, EventDocument

Json = Any
"""Any value of a payload."""

_SEALED_FIELDS = frozenset(Sealed.__struct_fields__)
_PAYLOADS = msgspec.json.Decoder(dict[str, Any])


class Shown(NamedTuple):
    """The directory and the keys by which opaque ids and sealed texts become readable."""

    directory: Directory
    keyring: Opener

    def person(self, subject: str | None) -> str | None:
        """Return `kind:name` of a subject; None once erased."""
        return called(self.directory.resolve([subject]).get(subject)) if subject else None

    def text(self, text: Personal | None) -> str | None:
        """Return a personal text; None once erased."""
        return self.keyring.open(text) if isinstance(text, Sealed) else text

    def status(
        self, document: deployments.StatusDocument, place: targets.Place | None
    ) -> deployments.StatusDocument:
        """Return a status document as it is served; `place` is its target at the same position."""
        return msgspec.structs.replace(
            document,
            requested_by=self.person(document.requested_by),
            reason=self.text(document.reason),
            live=live(place),
        )

    def history(self, entries: Iterable[history.Entry]) -> list[history.Entry]:
        """Return lines of a bounded history as they are served."""
        entries = list(entries)
        people = self.directory.resolve({e.requested_by for e in entries if e.requested_by})
        return [
            msgspec.structs.replace(
                entry,
                requested_by=called(people.get(entry.requested_by or "")),
                reason=self.text(entry.reason),
            )
            for entry in entries
        ]

    def definitions(self, found: Iterable[definitions.Defined]) -> list[definitions.Defined]:
        """Return definitions as they are listed."""
        return [
            msgspec.structs.replace(one, defined_by=self.person(one.defined_by)) for one in found
        ]

    def events(self, events: Iterable[Recorded], causes: Mapping[str, int]) -> list[EventDocument]:
        """Return events as they are served; `causes` are the positions of `stream@version`."""
        events = list(events)
        people = self.directory.resolve({event.header.actor for event in events})
        return [self._event(event, people.get(event.header.actor), causes) for event in events]

    def _event(
        self, recorded: Recorded, person: Person | None, causes: Mapping[str, int]
    ) -> EventDocument:
        header = recorded.header
        return EventDocument(
            position=recorded.position,
            stream=header.stream,
            stream_version=header.stream_version,
            topic=header.topic,
            event_version=header.event_version,
            occurred_at=header.occurred_at,
            recorded_at=header.recorded_at,
            actor=ActorDocument(
                kind=person.kind if person else None,
                id=header.actor,
                name=person.name if person else None,
            ),
            environment=header.environment,
            service=header.service,
            deployment=header.deployment,
            causation=causes.get(header.causation or ""),
            correlation=header.correlation,
            fence=header.fence,
            payload=self._payload(recorded.payload),
        )

    def _payload(self, line: bytes) -> dict[str, Any]:
        payload = _PAYLOADS.decode(line)
        payload.pop("salt", None)
        return {name: self._field(value) for name, value in payload.items()}

    def _field(self, value: Json) -> Json:
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Json]", value)
        is_sealed = fields.keys() == _SEALED_FIELDS
        return self.keyring.open(msgspec.convert(fields, Sealed)) if is_sealed else fields


def live(place: targets.Place | None) -> deployments.Live | None:
    """Return what serves a target, as a status document says it."""
    if place is None or place.revision is None or place.version is None:
        return None
    return deployments.Live(place.revision, place.version)


def called(person: Person | None) -> str | None:
    """Return `kind:name` of a person; None once erased."""
    return f"{person.kind}:{person.name}" if person and person.name else None
