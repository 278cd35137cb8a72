"""Entity tags: strong ones for every answer, and the two conditions on them."""

from __future__ import annotations

from hashlib import blake2b


def of_bytes(body: bytes) -> str:
    """Return the tag of an answer by its bytes."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def of_version(version: int) -> str:
    """Return the tag of a document by its version."""
    return f'"{version}"'


def is_named(header: str, tag: str, *, weakly: bool = False) -> bool:
    """Say whether a list of tags names this one; `*` names every one.

    >>> is_named('W/"a", "b"', '"a"'), is_named('W/"a", "b"', '"a"', weakly=True)
    (False, True)
    """
    tags = [one.strip() for one in header.split(",")]
    if weakly:
        tags = [one.removeprefix("W/") for one in tags]
    return tag in tags or "*" in tags
