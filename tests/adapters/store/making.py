"""What the stores' tests append, and the clock they move."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from shipslog.domain.append import Append, Draft
from shipslog.domain.event import CommandRef, Event, Personal, sha256_hex

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


class Happened(Event, frozen=True):
    """Something happened."""

    TOPIC: ClassVar[str] = "test.happened"
    what: str = "something"
    why: Personal | None = None


class HandClock:
    """Stands still until it is moved; calling it says what time it is."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> datetime:
        self.at += timedelta(seconds=seconds)
        return self.at


def command(name: str, body: str = "") -> CommandRef:
    return CommandRef(sha256_hex(name.encode(errors="replace")), sha256_hex(body.encode()))


def draft(stream: str, version: int, **said: Any) -> Draft:
    plain: dict[str, Any] = {
        "event": Happened(),
        "occurred_at": START,
        "actor": "sub_test",
        "command": command(f"{stream}@{version}"),
    }
    return Draft(stream=stream, version=version, **(plain | said))


def appending(*drafts: Draft, **said: Any) -> Append:
    commands = said.pop("commands", tuple(draft.command for draft in drafts[:1]))
    return Append(drafts=drafts, commands=commands, **said)


def one(stream: str, version: int, **said: Any) -> Append:
    return appending(draft(stream, version, **said))
