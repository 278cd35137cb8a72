"""The stored bytes of every event ever written, by topic and version: they must always load.

`<kind>.jsonl` holds two lines an event, header and payload, as they stand in a log. A line that is
here is never changed or taken away. `python -m tests.history DATA` adds those that are missing
from a ledger in which they happened.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from shipslog.domain.event import Recorded, decode, encode_header

HERE = Path(__file__).parent


def kept() -> Iterator[Recorded]:
    """Yield every event that is kept here."""
    for path in sorted(HERE.glob("*.jsonl")):
        lines = path.read_bytes().split(b"\n")
        assert lines.pop() == b"", f"{path.name} ends in the middle of a line"
        for header, payload in zip(lines[::2], lines[1::2], strict=True):
            yield decode(0, header + b"\n" + payload)


def keep(events: Iterable[Recorded]) -> list[str]:
    """Add the first event of every topic and version that is not here; return which were added."""
    known = {name_of(event) for event in kept()}
    added: list[str] = []
    for event in events:
        if name_of(event) not in known:
            known.add(name_of(event))
            added.append(name_of(event))
            path = HERE / f"{event.header.topic.partition('.')[0]}.jsonl"
            with path.open("ab") as file:
                file.write(encode_header(event.header) + b"\n" + event.payload + b"\n")
    return added


def name_of(event: Recorded) -> str:
    return f"{event.header.topic} v{event.header.event_version}"
