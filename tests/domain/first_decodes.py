"""Two threads that decode an event of the same new class at the same moment, again and again."""

import sys
import threading
from typing import Any

import msgspec

from shipslog.domain import event as events
from shipslog.domain.event import Event, decode_payload

KINDS = 100
PAYLOAD = b'{"salt":"","inner":{"g1":1}}'


def make_kind(number: int) -> str:
    """Make an event class that nobody has decoded yet, and return its topic."""
    topic = f"first.decodes_{number}"
    fields = [(f"g{n}", "int | None", None) for n in range(20)]
    # Names of annotations are looked up where the class says that it was made.
    inner = msgspec.defstruct(f"Inner{number}", fields, module=events.__name__)
    setattr(events, inner.__name__, inner)
    made: dict[str, Any] = {
        "__module__": events.__name__,
        "__qualname__": f"Kind{number}",
        "__annotations__": {"inner": f"{inner.__name__} | None"},
        "inner": None,
        "TOPIC": topic,
    }
    kind: Any = type(Event)
    kind(f"Kind{number}", (Event,), made, frozen=True, kw_only=True, gc=False)
    return topic


def main() -> None:
    sys.setswitchinterval(1e-6)
    topics = [make_kind(number) for number in range(KINDS)]
    together = threading.Barrier(2)

    def decode_all() -> None:
        for topic in topics:
            together.wait()
            decode_payload(topic, 1, PAYLOAD)

    threads = [threading.Thread(target=decode_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
