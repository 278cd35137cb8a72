"""People who ask an installation, and wait until it has done what they asked for."""

from __future__ import annotations

import tomllib
from random import Random

from ..crashing.operators import Operators
from ..installation import Installation

SETTLE_SECONDS = 60.0


def operators(here: Installation) -> Operators:
    """Return people with the administrator's token."""
    stored = tomllib.loads((here.configuration / "shipslog/config.toml").read_text())
    return Operators(stored["url"], stored["token"], Random(1))  # noqa: S311 - no secret


async def is_settled(people: Operators) -> bool:
    """Say whether nothing is under way."""
    return not await people.statuses()
