"""What a client takes: the `Accept` header against what a route offers."""

from __future__ import annotations

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain"
EVENT_STREAM = "text/event-stream"


def preferred(accept: str | None, offers: tuple[str, ...]) -> str | None:
    """Return the offered media type that a client likes best, the first of equals; None: none.

    >>> preferred("text/event-stream", (JSON, EVENT_STREAM))
    'text/event-stream'
    >>> preferred("image/png, */*;q=0.1", (JSON, EVENT_STREAM))
    'application/json'
    >>> preferred("text/event-stream, */*", (JSON, EVENT_STREAM))
    'text/event-stream'
    >>> preferred("image/png", (JSON,)) is None
    True
    """
    if not accept or accept in {"*/*", offers[0]}:
        return offers[0]
    ranges = [_range(part) for part in accept.lower().split(",")]
    liked = [(max(_matches(offer, ranges)), offer) for offer in offers]
    # Of two that are liked as much, the one that was named is meant.
    (exactness, quality), best = max(liked, key=lambda one: (one[0][1], one[0][0]))
    return best if exactness and quality > 0 else None


def _range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, float(parameter[2:])
            except ValueError:
                return media, 0.0
    return media, 1.0


def _matches(offer: str, ranges: list[tuple[str, float]]) -> list[tuple[int, float]]:
    """Return (how exactly a range names the offer, its quality) for each; the exactest counts."""
    family = offer.partition("/")[0] + "/*"
    exactness = {offer: 3, family: 2, "*/*": 1}
    return [(0, 0.0), *((exactness[m], q) for m, q in ranges if m in exactness)]
