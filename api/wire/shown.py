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
Where = targets.Place | deployments.Live | None
"""A target, or what is live there and no more; None for none."""

_SEALED_FIELDS = frozenset(Sealed.__struct_fields__)
_PAYLOADS = msgspec.json.Decoder(dict[str, Any])


class Shown(NamedTuple):
    """The directory and the keys by which opaque ids and sealed texts become readable.

    What a whole page needs of them is asked for at once.
    """

    directory: Directory
    keyring: Opener

    async def status(
        self, document: deployments.StatusDocument, place: Where
    ) -> deployments.StatusDocument:
        """Return a status document as it is served; `place` is its target at the same position."""
        return (await self.statuses([(document, place)]))[0]

    async def statuses(
        self, found: Iterable[tuple[deployments.StatusDocument, Where]]
    ) -> list[deployments.StatusDocument]:
        """Return status documents as they are served, each with what there is at its target."""
        found = list(found)
        known = await self._known(
            [document.requested_by for document, _ in found],
            [document.reason for document, _ in found],
        )
        return [
            msgspec.structs.replace(
                document,
                requested_by=known.person(document.requested_by),
                reason=known.text(document.reason),
                live=live(place),
            )
            for document, place in found
        ]

    async def history(self, entries: Iterable[history.Entry]) -> list[history.Entry]:
        """Return lines of a bounded history as they are served."""
        entries = list(entries)
        known = await self._known(
            [entry.requested_by for entry in entries], [entry.reason for entry in entries]
        )
        return [
            msgspec.structs.replace(
                entry,
                requested_by=known.person(entry.requested_by),
                reason=known.text(entry.reason),
            )
            for entry in entries
        ]

    async def definitions(self, found: Iterable[definitions.Defined]) -> list[definitions.Defined]:
        """Return definitions as they are listed."""
        found = list(found)
        known = await self._known([one.defined_by for one in found], [])
        return [
            msgspec.structs.replace(one, defined_by=known.person(one.defined_by)) for one in found
        ]

    async def events(
        self, events: Iterable[Recorded], causes: Mapping[str, int]
    ) -> list[EventDocument]:
        """Return events as they are served; `causes` are the positions of `stream@version`."""
        events = list(events)
        payloads = [_payload(event.payload) for event in events]
        known = await self._known(
            [event.header.actor for event in events],
            [value for payload in payloads for value in payload.values()],
        )
        pairs = zip(events, payloads, strict=True)
        return [known.event(event, payload, causes) for event, payload in pairs]

    async def _known(
        self, subjects: Iterable[str | None], texts: Iterable[Json | Personal]
    ) -> _Known:
        ids = {subject for subject in subjects if subject}
        sealed = {text for text in texts if isinstance(text, Sealed)}
        return _Known(
            await self.directory.resolve(ids) if ids else {},
            await self.keyring.open(sealed) if sealed else {},
        )


class _Known(NamedTuple):
    """The people of a page, and its personal texts."""

    people: Mapping[str, Person]
    texts: Mapping[Sealed, str | None]

    def person(self, subject: str | None) -> str | None:
        """Return `kind:name` of a subject; None once erased."""
        return called(self.people.get(subject)) if subject else None

    def text(self, text: Personal | None) -> str | None:
        """Return a personal text; None once erased."""
        return self.texts[text] if isinstance(text, Sealed) else text

    def event(
        self, recorded: Recorded, payload: dict[str, Json], causes: Mapping[str, int]
    ) -> EventDocument:
        """Return an event as it is served."""
        header = recorded.header
        person = self.people.get(header.actor)
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
            payload={
                name: self.texts[value] if isinstance(value, Sealed) else value
                for name, value in payload.items()
            },
        )


def _payload(line: bytes) -> dict[str, Json]:
    payload = _PAYLOADS.decode(line)
    payload.pop("salt", None)
    return {name: _field(value) for name, value in payload.items()}


def _field(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Json]", value)
    return msgspec.convert(fields, Sealed) if fields.keys() == _SEALED_FIELDS else fields


def live(place: Where) -> deployments.Live | None:
    """Return what serves a target, as a status document says it."""
    if isinstance(place, deployments.Live):
        return place
    if place is None or place.revision is None or place.version is None:
        return None
    return deployments.Live(place.revision, place.version)


def called(person: Person | None) -> str | None:
    """Return `kind:name` of a person; None once erased."""
    return f"{person.kind}:{person.name}" if person and person.name else None
