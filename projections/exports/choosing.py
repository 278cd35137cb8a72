"""Filter: which events an export holds in full, decided by their headers and by nothing else."""

from __future__ import annotations

import msgspec

from ...domain.errors import CorruptLogError


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What of a header an export can be filtered by."""

    topic: str
    actor: str
    environment: str | None
    service: str | None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Whose events are wanted; every text is taken literally."""

    environment: str | None = None
    service: str | None = None
    actor: str | None = None
    """A subject's id."""
    topic: str | None = None
    """A topic, or with a dot at its end every topic that begins so: `deployment.`."""

    @property
    def is_everything(self) -> bool:
        """Whether no event is left out."""
        return {self.environment, self.service, self.actor, self.topic} == {None}

    def includes(self, facts: Facts) -> bool:
        """Say whether an event is wanted."""
        return (
            (self.environment is None or self.environment == facts.environment)
            and (self.service is None or self.service == facts.service)
            and (self.actor is None or self.actor == facts.actor)
            and (self.topic is None or _is_about(self.topic, facts.topic))
        )


def facts_of(position: int, header: str) -> Facts:
    """Return what of a header line decides. Errors: CorruptLogError for a line that is none."""
    try:
        return _decode(header)
    except msgspec.DecodeError as error:
        raise CorruptLogError(position=position, detail=str(error)) from error


def _is_about(wanted: str, topic: str) -> bool:
    return wanted == topic or (wanted.endswith(".") and topic.startswith(wanted))


_decode = msgspec.json.Decoder(Facts).decode
